//! What `iptables-save` prints, as far as it sends packets elsewhere; only rules of the table nat do.

use std::net::IpAddr;

use ipnet::IpNet;

use super::redirection::{ALL, Addresses, Ports, Redirection, To, all_but, in_both};

/// Where the rules send packets; those for what the node itself sends are left out.
pub(super) fn redirections(printed: &str) -> Vec<Redirection> {
    let rules = printed.lines().filter(|line| line.starts_with("-A ") && !line.starts_with("-A OUTPUT "));
    rules.filter_map(redirection).collect()
}

fn redirection(rule: &str) -> Option<Redirection> {
    let words = words(rule);
    let at = |option: &str| words.iter().position(|word| *word == option);
    let after = |option: &str| at(option).and_then(|at| words.get(at + 1)).copied();
    let (addresses, ports) = match after("-j")? {
        "REDIRECT" => (To::Own, after("--to-ports").map_or(To::Own, |ports| ranges(ports).into())),
        "DNAT" => after("--to-destination").map_or((To::Unclear, To::Unclear), destination),
        "NETMAP" => (after("--to").and_then(network).map(|network| vec![network]).into(), To::Own),
        _others => return None,
    };
    Some(Redirection { rule: rule.to_owned(), addresses, ports, from: from(&words) })
}

/// The TCP ports that a rule is for, if they can be told.
fn from(words: &[&str]) -> Option<Vec<Ports>> {
    let matched = |options: &'static [&str]| {
        let at = words.iter().enumerate().filter(|(_, word)| options.contains(word)).map(|(at, _)| at);
        at.map(|at| (at > 0 && words[at - 1] == "!", words.get(at + 1).copied().unwrap_or_default()))
    };
    let is_tcp = |(is_negated, protocol): (bool, &str)| is_negated != ["tcp", "all"].contains(&protocol);
    if !matched(&["-p"]).all(is_tcp) {
        return Some(Vec::new());
    }
    matched(&["--dport", "--dports"]).try_fold(vec![ALL], |left, (is_negated, ports)| {
        let ports = ranges(ports)?;
        Some(in_both(&left, &if is_negated { all_but(&ports) } else { ports }))
    })
}

/// A comment in quotation marks is one word, whatever stands in it. It is left out: one without may look like an option.
fn words(rule: &str) -> Vec<&str> {
    let (mut words, mut rest) = (Vec::new(), rest_of(rule));
    while let Some((word, next)) = rest {
        if words.last() == Some(&"--comment") {
            words.pop();
        } else {
            words.push(word);
        }
        rest = rest_of(next);
    }
    words
}

/// The first word of a text, and what comes after it.
fn rest_of(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(' ').unwrap_or(text.len());
        return (!text.is_empty()).then(|| text.split_at(end));
    };
    let is_end = |at: &usize| !quoted[..*at].ends_with('\\');
    let end = quoted.match_indices('"').map(|(at, _)| at).find(is_end).unwrap_or(quoted.len());
    Some((&quoted[..end], quoted.get(end + 1..).unwrap_or_default()))
}

/// `[ADDRESS[-ADDRESS]][:PORT[-PORT]]`, an IPv6 address with ports in brackets.
fn destination(text: &str) -> (To<Addresses>, To<Ports>) {
    let (address, ports) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').unwrap_or((rest, "")),
        None if text.matches(':').count() > 1 => (text, ""),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let ports = ports.trim_start_matches(':');
    // Without an address only the port changes, and the other way round.
    let addresses = if address.is_empty() {
        To::Own
    } else {
        self::addresses(address).map(|addresses| vec![addresses]).into()
    };
    (addresses, if ports.is_empty() { To::Own } else { ranges(ports).into() })
}

fn addresses(text: &str) -> Option<Addresses> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.parse().ok()?, last.parse().ok()?))
}

fn network(text: &str) -> Option<Addresses> {
    let network: IpNet = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
    Some((network.network(), network.broadcast()))
}

/// `22`, `22:25`, `22-25`, `22-25/2000`, `22,80`.
fn ranges(text: &str) -> Option<Vec<Ports>> {
    let range = |range: &str| {
        let (first, last) = range.split_once([':', '-']).unwrap_or((range, range));
        Some((first.parse().ok()?, last.split('/').next()?.parse().ok()?))
    };
    text.split(',').map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn these(first: &str, last: &str) -> To<Addresses> {
        To::These(vec![(first.parse().unwrap(), last.parse().unwrap())])
    }

    #[test]
    fn rules_are_read_as_iptables_prints_them() {
        let printed = "*nat\n:PREROUTING ACCEPT [0:0]\n\
            -A PREROUTING -p tcp -m tcp --dport 2222 -j REDIRECT --to-ports 22\n\
            -A PREROUTING -p tcp -j DNAT --to-destination :2200\n\
            -A PREROUTING -p tcp -m multiport --dports 80,8000:8080 -j DNAT --to-destination 198.51.100.10:20-25\n\
            -A PREROUTING -d 2001:db8::1/128 -p tcp -j DNAT --to-destination [2001:db8::10]:22\n\
            -A PREROUTING -j DNAT --to-destination 2001:db8::10\n\
            -A PREROUTING -d 192.0.2.0/24 -j NETMAP --to 198.51.100.0/24\n\
            -A OUTPUT -p tcp --dport 2222 -j REDIRECT --to-ports 22\n\
            -A POSTROUTING -j MASQUERADE\nCOMMIT\n";
        let read: Vec<_> =
            redirections(printed).into_iter().map(|it| (it.addresses, it.ports, it.from)).collect();
        let six = || these("2001:db8::10", "2001:db8::10");
        let expected = [
            (To::Own, To::These(vec![(22, 22)]), Some(vec![(2222, 2222)])),
            (To::Own, To::These(vec![(2200, 2200)]), Some(vec![ALL])),
            (
                these("198.51.100.10", "198.51.100.10"),
                To::These(vec![(20, 25)]),
                Some(vec![(80, 80), (8000, 8080)]),
            ),
            (six(), To::These(vec![(22, 22)]), Some(vec![ALL])),
            (six(), To::Own, Some(vec![ALL])),
            (these("198.51.100.0", "198.51.100.255"), To::Own, Some(vec![ALL])),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn what_a_rule_is_not_for_is_all_but_that() {
        for (rule, from) in [
            ("-p tcp -m tcp ! --dport 22 -j REDIRECT", vec![(0, 21), (23, 65535)]),
            ("-p tcp -m multiport ! --dports 22,80 -j REDIRECT", vec![(0, 21), (23, 79), (81, 65535)]),
            (
                "-p tcp -m tcp --dport 20:30 -m multiport ! --dports 22,25:40 -j REDIRECT",
                vec![(20, 21), (23, 24)],
            ),
            ("-p udp -m udp --dport 22 -j REDIRECT", vec![]),
            ("! -p tcp -j REDIRECT", vec![]),
            ("! -p udp -j REDIRECT", vec![ALL]),
            ("! -i lo -p tcp -m tcp --dport 22 -j REDIRECT", vec![(22, 22)]),
        ] {
            let read = redirections(&format!("-A PREROUTING {rule}\n"));
            assert_eq!(read[0].from, Some(from), "{rule}");
        }
        let read = redirections("-A PREROUTING -p tcp -m tcp --dport ssh -j REDIRECT");
        assert_eq!(read[0].from, None);
    }

    #[test]
    fn what_is_not_understood_is_unclear() {
        for (to, addresses, ports) in [
            ("DNAT --to-destination 198.51.100.10:ssh", these("198.51.100.10", "198.51.100.10"), To::Unclear),
            ("DNAT --to-destination node.example:22", To::Unclear, To::These(vec![(22, 22)])),
            ("DNAT --persistent", To::Unclear, To::Unclear),
            ("REDIRECT --to-ports ssh", To::Own, To::Unclear),
            ("NETMAP --to all", To::Unclear, To::Own),
        ] {
            let read = redirections(&format!("-A PREROUTING -p tcp -j {to}\n"));
            assert_eq!((&read[0].addresses, &read[0].ports), (&addresses, &ports), "{to}");
        }
    }

    #[test]
    fn comments_are_no_part_of_a_rule() {
        let rule = r#"-A PREROUTING -p tcp -m comment --comment "a \"b\" -j ACCEPT --dport 80" -m tcp --dport 2222 -j REDIRECT --to-ports 22"#;
        for rule in [rule, &rule.replace(r#""a \"b\" -j ACCEPT --dport 80""#, "-j")] {
            let read = &redirections(rule)[0];
            assert_eq!((&read.ports, &read.from), (&To::These(vec![(22, 22)]), &Some(vec![(2222, 2222)])));
        }
    }
}
