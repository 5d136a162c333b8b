//! What `iptables-save` prints, as far as it sends packets elsewhere; only rules of the table nat do.

use std::net::IpAddr;

use super::firewall::Target;

/// Where the rules send packets; those for what the node itself sends are left out.
pub(super) fn targets(printed: &str) -> Vec<Target> {
    let rules = printed.lines().filter(|line| line.starts_with("-A ") && !line.starts_with("-A OUTPUT "));
    rules.filter_map(target).collect()
}

fn target(rule: &str) -> Option<Target> {
    let words: Vec<&str> = rule.split_whitespace().collect();
    let after = |option: &str| {
        words.iter().position(|word| *word == option).and_then(|at| words.get(at + 1)).copied()
    };
    let (addresses, ports) = match after("-j")? {
        "REDIRECT" => (None, after("--to-ports").map_or_else(Vec::new, ranges)),
        "DNAT" => destination(after("--to-destination")?),
        _others => return None,
    };
    let from = after("--dport").or_else(|| after("--dports")).map_or_else(Vec::new, ranges);
    Some(Target { rule: rule.to_owned(), addresses, ports, from })
}

/// `ADDRESS[-ADDRESS][:PORT[-PORT]]`, an IPv6 address with ports in brackets.
fn destination(text: &str) -> (Option<Vec<IpAddr>>, Vec<(u16, u16)>) {
    let (address, ports) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").unwrap_or((rest, "")),
        None if text.matches(':').count() > 1 => (text, ""),
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let parsed =
        |address: &str| address.split('-').filter_map(|one| one.trim_end_matches(']').parse().ok()).collect();
    // Without an address only the port changes.
    let addresses = Some(address).filter(|address| !address.is_empty()).map(parsed);
    (addresses, if ports.is_empty() { Vec::new() } else { ranges(ports) })
}

/// `22`, `22:25`, `22-25`, `22,80`.
fn ranges(text: &str) -> Vec<(u16, u16)> {
    let range = |range: &str| {
        let (first, last) = range.split_once([':', '-']).unwrap_or((range, range));
        Some((first.parse().ok()?, last.split('/').next()?.parse().ok()?))
    };
    text.split(',').filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_iptables_prints_them() {
        let printed = "*nat\n:PREROUTING ACCEPT [0:0]\n\
            -A PREROUTING -p tcp -m tcp --dport 2222 -j REDIRECT --to-ports 22\n\
            -A PREROUTING -p tcp -j DNAT --to-destination :2200\n\
            -A PREROUTING -p tcp -m multiport --dports 80,8000:8080 -j DNAT --to-destination 198.51.100.10:20-25\n\
            -A PREROUTING -d 2001:db8::1/128 -p tcp -j DNAT --to-destination [2001:db8::10]:22\n\
            -A PREROUTING -j DNAT --to-destination 2001:db8::10\n\
            -A OUTPUT -p tcp --dport 2222 -j REDIRECT --to-ports 22\n\
            -A POSTROUTING -j MASQUERADE\nCOMMIT\n";
        let read: Vec<_> = targets(printed).into_iter().map(|it| (it.addresses, it.ports, it.from)).collect();
        let address = |text: &str| Some(vec![text.parse().unwrap()]);
        let expected = [
            (None, vec![(22, 22)], vec![(2222, 2222)]),
            (None, vec![(2200, 2200)], vec![]),
            (address("198.51.100.10"), vec![(20, 25)], vec![(80, 80), (8000, 8080)]),
            (address("2001:db8::10"), vec![(22, 22)], vec![]),
            (address("2001:db8::10"), vec![], vec![]),
        ];
        assert_eq!(read, expected);
    }
}
