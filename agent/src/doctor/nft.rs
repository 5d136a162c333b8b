//! What `nft --json list ruleset` prints (libnftables-json(5)), as far as it sends packets elsewhere.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::firewall::Target;

/// Where the rules send packets; those for what the node itself sends are left out.
pub(super) fn targets(printed: &str) -> serde_json::Result<Vec<Target>> {
    let printed: Value = serde_json::from_str(printed)?;
    let all = || printed["nftables"].as_array().into_iter().flatten();
    let outgoing: BTreeSet<String> = all()
        .map(|one| &one["chain"])
        .filter(|chain| chain["hook"] == "output")
        .map(|chain| place(chain, "name"))
        .collect();
    let rules = all().map(|one| &one["rule"]).filter(|rule| !outgoing.contains(&place(rule, "chain")));
    Ok(rules.flat_map(of_rule).collect())
}

fn of_rule(rule: &Value) -> Vec<Target> {
    let statements = || rule["expr"].as_array().into_iter().flatten();
    let matched = statements().map(|statement| &statement["match"]);
    let from: Vec<(u16, u16)> = matched
        .filter(|matched| matched["left"]["payload"]["field"] == "dport" && matched["op"] == "==")
        .flat_map(|matched| ports(&matched["right"]))
        .collect();
    let to = statements().filter_map(|statement| statement.get("redirect").or_else(|| statement.get("dnat")));
    let target = |to: &Value| Target {
        rule: format!("{} handle {}", place(rule, "chain"), rule["handle"]),
        addresses: to.get("addr").map(addresses),
        ports: ports(&to["port"]),
        from: from.clone(),
    };
    to.map(target).collect()
}

/// Family, table and chain.
fn place(of: &Value, chain: &str) -> String {
    let word = |name: &str| of[name].as_str().unwrap_or_default();
    format!("{} {} {}", word("family"), word("table"), word(chain))
}

/// All ports in an expression, however deep in sets and maps: one that is not plain may come to any of them.
fn ports(expression: &Value) -> Vec<(u16, u16)> {
    if let Some([first, last]) = expression["range"].as_array().map(Vec::as_slice)
        && let (Some(first), Some(last)) = (port(first), port(last))
    {
        return vec![(first, last)];
    }
    match expression {
        Value::Number(_) => port(expression).map(|port| (port, port)).into_iter().collect(),
        Value::Array(parts) => parts.iter().flat_map(ports).collect(),
        Value::Object(parts) => parts.values().flat_map(ports).collect(),
        Value::Null | Value::Bool(_) | Value::String(_) => Vec::new(),
    }
}

fn port(expression: &Value) -> Option<u16> {
    expression.as_u64().and_then(|number| u16::try_from(number).ok())
}

/// All addresses in an expression.
fn addresses(expression: &Value) -> Vec<IpAddr> {
    match expression {
        Value::String(text) => text.parse().into_iter().collect(),
        Value::Array(parts) => parts.iter().flat_map(addresses).collect(),
        Value::Object(parts) => parts.values().flat_map(addresses).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_however_they_say_it() {
        let printed = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
            {"chain": {"family": "ip", "table": "nat", "name": "pre", "hook": "prerouting"}},
            {"chain": {"family": "ip", "table": "nat", "name": "out", "hook": "output"}},
            {"rule": {"family": "ip", "table": "nat", "chain": "pre", "handle": 3, "expr": [
                {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": {"set": [80, {"range": [2200, 2299]}]}}},
                {"redirect": {"port": 22}}]}},
            {"rule": {"family": "ip", "table": "nat", "chain": "pre", "handle": 4, "expr": [
                {"dnat": {"addr": "198.51.100.10", "port": {"map": {"key": {"payload": {"protocol": "tcp", "field": "dport"}}, "data": {"set": [[2222, 22]]}}}}}]}},
            {"rule": {"family": "ip", "table": "nat", "chain": "out", "handle": 5, "expr": [{"redirect": {"port": 22}}]}},
            {"rule": {"family": "ip", "table": "nat", "chain": "pre", "handle": 6, "expr": [{"accept": null}]}}]}"#;
        let read: Vec<_> = targets(printed)
            .unwrap()
            .into_iter()
            .map(|it| (it.rule, it.addresses, it.ports, it.from))
            .collect();
        let expected = [
            ("ip nat pre handle 3".to_owned(), None, vec![(22, 22)], vec![(80, 80), (2200, 2299)]),
            (
                "ip nat pre handle 4".to_owned(),
                Some(vec!["198.51.100.10".parse().unwrap()]),
                vec![(2222, 2222), (22, 22)],
                vec![],
            ),
        ];
        assert_eq!(read, expected);
        assert!(targets("not json").is_err());
    }
}
