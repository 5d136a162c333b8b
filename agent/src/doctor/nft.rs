//! What `nft --json list ruleset` prints (libnftables-json(5)), as far as it sends packets elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::redirection::{ALL, Addresses, Ports, Redirection, To, all_but, in_both};

/// Where the rules send packets; those for what the node itself sends are left out.
pub(super) fn redirections(printed: &str) -> serde_json::Result<Vec<Redirection>> {
    let printed: Value = serde_json::from_str(printed)?;
    let all = || printed["nftables"].as_array().into_iter().flatten();
    let is_outgoing =
        |chain: &&Value| ["output", "postrouting", "egress"].into_iter().any(|hook| chain["hook"] == hook);
    let chains = all().map(|one| &one["chain"]).filter(is_outgoing);
    let outgoing: BTreeSet<String> = chains.map(|chain| place(chain, &chain["name"])).collect();
    let named = all().filter_map(|one| one.get("set").or_else(|| one.get("map")));
    let named = Named(named.map(|set| (place(set, &set["name"]), &set["elem"])).collect());
    let rules = all().filter_map(|one| one.get("rule"));
    let rules = rules.filter(|rule| !outgoing.contains(&place(rule, &rule["chain"])));
    Ok(rules.flat_map(|rule| of_rule(rule, &named)).collect())
}

/// Family and table of something, and a name in that.
fn place(of: &Value, name: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    [&of["family"], &of["table"], name].map(word).join(" ")
}

fn of_rule(rule: &Value, named: &Named) -> Vec<Redirection> {
    let statements = || rule["expr"].as_array().into_iter().flatten();
    let from = from(rule, named);
    let to = statements().filter_map(|statement| {
        let (addresses, ports) = if let Some(mangled) = statement.get("mangle") {
            mangling(rule, mangled, named)?
        } else {
            translation(rule, statement.get("redirect").or_else(|| statement.get("dnat"))?, named)
        };
        let rule = format!("{} handle {}", place(rule, &rule["chain"]), rule["handle"]);
        Some(Redirection { rule, addresses, ports, from: from.clone() })
    });
    to.collect()
}

/// The TCP ports that a rule is for, if they can be told.
fn from(rule: &Value, named: &Named) -> Option<Vec<Ports>> {
    let matched = || rule["expr"].as_array().into_iter().flatten().map(|statement| &statement["match"]);
    if matched().any(|matched| is_for_others(rule, matched, named)) {
        return Some(Vec::new());
    }
    let mut dports = matched().filter(|matched| matched["left"]["payload"]["field"] == "dport");
    dports.try_fold(vec![ALL], |left, matched| {
        let ports = named.all(rule, &matched["right"], port)?;
        match matched["op"].as_str()? {
            "==" => Some(in_both(&left, &ports)),
            "!=" => Some(in_both(&left, &all_but(&ports))),
            _others => None,
        }
    })
}

/// Whether only packets of other protocols than TCP match: `udp dport …`, `meta l4proto udp`, `ip protocol { udp, icmp }`.
fn is_for_others(rule: &Value, matched: &Value, named: &Named) -> bool {
    const OTHERS: [&str; 9] = ["udp", "udplite", "sctp", "dccp", "icmp", "icmpv6", "ipv6-icmp", "esp", "ah"];
    let is_other = |value: &Value| value.as_str().is_some_and(|protocol| OTHERS.contains(&protocol));
    let (left, payload) = (&matched["left"], &matched["left"]["payload"]);
    let asks =
        left["meta"]["key"] == "l4proto" || payload["field"] == "protocol" || payload["field"] == "nexthdr";
    let all_are = || named.leaves(rule, &matched["right"]).is_some_and(|all| all.into_iter().all(is_other));
    is_other(&payload["protocol"]) || (asks && matched["op"] == "==" && all_are())
}

/// `redirect` and `dnat`.
fn translation(rule: &Value, to: &Value, named: &Named) -> (To<Addresses>, To<Ports>) {
    let Some(address) = to.get("addr") else { return (To::Own, named.ports(rule, &to["port"])) };
    let addresses = named.all(rule, address, |leaf| part(leaf, addresses)).into();
    // A map may give address and port at once.
    let leaves = named.leaves(rule, address);
    let both = leaves.iter().flatten().any(|leaf| leaf.get("concat").is_some());
    let ports = if both && to.get("port").is_none() {
        named.all(rule, address, |leaf| part(leaf, port)).into()
    } else {
        named.ports(rule, &to["port"])
    };
    (addresses, ports)
}

/// `tcp dport set …`, `ip daddr set …`.
fn mangling(rule: &Value, mangled: &Value, named: &Named) -> Option<(To<Addresses>, To<Ports>)> {
    let value = &mangled["value"];
    match mangled["key"]["payload"]["field"].as_str()? {
        "dport" => Some((To::Own, named.ports(rule, value))),
        "daddr" => Some((named.all(rule, value, addresses).into(), To::Own)),
        _others => None,
    }
}

/// The elements of sets and maps with names, by their places.
struct Named<'a>(BTreeMap<String, &'a Value>);

impl<'a> Named<'a> {
    fn ports(&self, rule: &Value, expression: &'a Value) -> To<Ports> {
        if expression.is_null() { To::Own } else { self.all(rule, expression, port).into() }
    }

    /// All that an expression may come to; none if it cannot be told.
    fn all<T>(
        &self,
        rule: &Value,
        expression: &'a Value,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.leaves(rule, expression)?.into_iter().map(read).collect()
    }

    /// The same without reading it: what stands in sets, and what maps lead to.
    fn leaves(&self, rule: &Value, expression: &'a Value) -> Option<Vec<&'a Value>> {
        let all = |parts: &'a Value| -> Option<Vec<&'a Value>> {
            let parts = parts.as_array().into_iter().flatten().map(|part| self.leaves(rule, part));
            Some(parts.collect::<Option<Vec<_>>>()?.concat())
        };
        if let Some(name) = expression.as_str().and_then(|text| text.strip_prefix('@')) {
            return all(self.elements(rule, name)?);
        }
        match expression.as_object().and_then(|object| object.iter().next()) {
            None => Some(vec![expression]),
            Some((kind, set)) if kind == "set" => all(set),
            Some((kind, element)) if kind == "elem" => self.leaves(rule, &element["val"]),
            Some((kind, map)) if kind == "map" => {
                let data = &map["data"];
                let name = data.as_str().and_then(|text| text.strip_prefix('@'));
                let elements = name.map_or(data.get("set"), |name| self.elements(rule, name))?;
                let values = elements.as_array().into_iter().flatten();
                let values = values.map(|element| self.leaves(rule, element.get(1)?));
                Some(values.collect::<Option<Vec<_>>>()?.concat())
            }
            Some((kind, _)) if ["range", "prefix", "concat"].contains(&kind.as_str()) => {
                Some(vec![expression])
            }
            Some(_others) => None,
        }
    }

    fn elements(&self, rule: &Value, name: &str) -> Option<&'a Value> {
        self.0.get(&place(rule, &Value::from(name))).copied()
    }
}

/// What can be read of a part of several, or of the only one.
fn part<T>(leaf: &Value, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
    match leaf["concat"].as_array() {
        Some(parts) => parts.iter().find_map(read),
        None => read(leaf),
    }
}

fn port(leaf: &Value) -> Option<Ports> {
    let number = |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok());
    if let Some([first, last]) = leaf["range"].as_array().map(Vec::as_slice) {
        return Some((number(first)?, number(last)?));
    }
    number(leaf).map(|port| (port, port))
}

fn addresses(leaf: &Value) -> Option<Addresses> {
    let address = |value: &Value| value.as_str().and_then(|text| text.parse::<IpAddr>().ok());
    if let Some([first, last]) = leaf["range"].as_array().map(Vec::as_slice) {
        return Some((address(first)?, address(last)?));
    }
    if let Some(prefix) = leaf.get("prefix") {
        let length = u8::try_from(prefix["len"].as_u64()?).ok()?;
        let network = IpNet::new(address(&prefix["addr"])?, length).ok()?;
        return Some((network.network(), network.broadcast()));
    }
    address(leaf).map(|address| (address, address))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is read of a rule with these statements, in a table with a set, a map of ports and one of addresses with
    /// ports.
    fn read(statements: &Value) -> Vec<Redirection> {
        let of = |name: &str, elements: &Value| json!({"family": "ip", "table": "nat", "name": name, "elem": elements});
        let printed = json!({"nftables": [
            {"metainfo": {"version": "1.0.6"}},
            {"chain": {"family": "ip", "table": "nat", "name": "pre", "hook": "prerouting"}},
            {"set": of("doors", &json!([2222, {"range": [3000, 3009]}, {"elem": {"val": 4000, "timeout": 60}}]))},
            {"map": of("to_port", &json!([[2222, 22], [{"elem": {"val": 80, "timeout": 60}}, 8080]]))},
            {"map": of("to_both", &json!([[2222, {"concat": ["198.51.100.10", 22]}]]))},
            {"rule": {"family": "ip", "table": "nat", "chain": "pre", "handle": 3, "expr": statements}},
        ]});
        redirections(&printed.to_string()).unwrap()
    }

    /// What is to be read of it.
    fn rule(addresses: To<Addresses>, ports: To<Ports>, from: Option<Vec<Ports>>) -> Redirection {
        Redirection { rule: "ip nat pre handle 3".to_owned(), addresses, ports, from }
    }

    fn dport(op: &str, right: &Value) -> Value {
        json!({"match": {"op": op, "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": right}})
    }

    /// What a map makes of the destination port.
    fn mapped(data: &Value) -> Value {
        json!({"map": {"key": {"payload": {"protocol": "tcp", "field": "dport"}}, "data": data}})
    }

    fn these(first: &str, last: &str) -> To<Addresses> {
        To::These(vec![(first.parse().unwrap(), last.parse().unwrap())])
    }

    #[test]
    fn the_ports_that_a_rule_is_for() {
        for (matched, from) in [
            (dport("==", &json!({"set": [80, {"range": [2200, 2299]}]})), Some(vec![(80, 80), (2200, 2299)])),
            (dport("!=", &json!(22)), Some(vec![(0, 21), (23, 65535)])),
            (dport("==", &json!("@doors")), Some(vec![(2222, 2222), (3000, 3009), (4000, 4000)])),
            (dport("==", &json!("@gone")), None),
            (dport("<", &json!(1024)), None),
            (json!({"counter": null}), Some(vec![ALL])),
        ] {
            let statements = json!([matched, {"redirect": {"port": 22}}]);
            assert_eq!(read(&statements), [rule(To::Own, To::These(vec![(22, 22)]), from)], "{statements}");
        }
        let both =
            [dport("==", &json!({"range": [20, 30]})), dport("!=", &json!(22)), json!({"redirect": null})];
        assert_eq!(read(&json!(both))[0].from, Some(vec![(20, 21), (23, 30)]));
    }

    #[test]
    fn other_protocols_have_no_ports_to_log_in_by() {
        let matched =
            |left: &Value, right: &Value| json!({"match": {"op": "==", "left": left, "right": right}});
        let l4proto = json!({"meta": {"key": "l4proto"}});
        let field = |protocol: &str, field: &str| json!({"payload": {"protocol": protocol, "field": field}});
        for (matched, from) in [
            (matched(&field("udp", "dport"), &json!(22)), vec![]),
            (matched(&l4proto, &json!("udp")), vec![]),
            (matched(&field("ip", "protocol"), &json!({"set": ["udp", "icmp"]})), vec![]),
            (matched(&l4proto, &json!({"set": ["tcp", "udp"]})), vec![ALL]),
            (matched(&field("ip6", "nexthdr"), &json!("@gone")), vec![ALL]),
        ] {
            let statements = json!([matched, {"redirect": null}]);
            assert_eq!(read(&statements), [rule(To::Own, To::Own, Some(from))], "{statements}");
        }
    }

    #[test]
    fn where_a_rule_sends_packets_however_it_says_it() {
        let node = || these("198.51.100.10", "198.51.100.10");
        let ssh = || To::These(vec![(22, 22)]);
        for (statement, addresses, ports) in [
            (json!({"redirect": null}), To::Own, To::Own),
            (
                json!({"redirect": {"port": mapped(&json!("@to_port"))}}),
                To::Own,
                To::These(vec![(22, 22), (8080, 8080)]),
            ),
            (json!({"redirect": {"port": {"range": [20, 25]}}}), To::Own, To::These(vec![(20, 25)])),
            (
                json!({"dnat": {"addr": "198.51.100.10", "port": mapped(&json!({"set": [[2222, 22]]}))}}),
                node(),
                ssh(),
            ),
            (json!({"dnat": {"addr": mapped(&json!("@to_both"))}}), node(), ssh()),
            (
                json!({"dnat": {"addr": {"range": ["198.51.100.1", "198.51.100.20"]}}}),
                these("198.51.100.1", "198.51.100.20"),
                To::Own,
            ),
            (
                json!({"dnat": {"addr": {"prefix": {"addr": "198.51.100.0", "len": 24}}}}),
                these("198.51.100.0", "198.51.100.255"),
                To::Own,
            ),
            (
                json!({"mangle": {"key": {"payload": {"protocol": "tcp", "field": "dport"}}, "value": 22}}),
                To::Own,
                ssh(),
            ),
            (
                json!({"mangle": {"key": {"payload": {"protocol": "ip", "field": "daddr"}}, "value": "198.51.100.10"}}),
                node(),
                To::Own,
            ),
        ] {
            assert_eq!(read(&json!([statement])), [rule(addresses, ports, Some(vec![ALL]))], "{statement}");
        }
        assert!(
            read(&json!([{"accept": null}, {"mangle": {"key": {"meta": {"key": "mark"}}, "value": 1}}]))
                .is_empty()
        );
    }

    #[test]
    fn what_is_not_understood_is_unclear() {
        let random = json!({"numgen": {"mode": "random", "mod": 4, "offset": 20}});
        for (statement, addresses, ports) in [
            (json!({"redirect": {"port": random}}), To::Own, To::Unclear),
            (json!({"redirect": {"port": mapped(&json!("@gone"))}}), To::Own, To::Unclear),
            (
                json!({"dnat": {"addr": mapped(&json!("@gone")), "port": 22}}),
                To::Unclear,
                To::These(vec![(22, 22)]),
            ),
            (json!({"dnat": {"addr": "node.example"}}), To::Unclear, To::Own),
        ] {
            assert_eq!(read(&json!([statement])), [rule(addresses, ports, Some(vec![ALL]))], "{statement}");
        }
    }

    #[test]
    fn what_the_node_itself_sends_is_left_out() {
        let rule = json!({"family": "ip", "table": "nat", "chain": "out", "handle": 5, "expr": [{"redirect": {"port": 22}}]});
        let chain = json!({"family": "ip", "table": "nat", "name": "out", "hook": "output"});
        let printed = json!({"nftables": [{"chain": chain}, {"rule": rule}]}).to_string();
        assert!(redirections(&printed).unwrap().is_empty());
        assert!(redirections("not json").is_err());
    }
}
