//! The session lines of a PAM service in the order in which they run, and what each does to the rest (pam.conf(5)).

use std::path::Path;

use cotter_hook::trusted_file;

/// How deep files may include each other.
const MAX_DEPTH: usize = 16;
/// How many files are read; more only where files include themselves.
const MAX_FILES: usize = 256;
/// The most bytes of one file.
const MAX_SIZE: u64 = 1 << 18;

/// What becomes of the stack after a module has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// The answer counts for nothing.
    Ignore,
    /// A success, unless something has failed.
    Ok,
    /// A failure; the stack goes on.
    Bad,
    /// A failure that ends the stack.
    Die,
    /// A success that ends the stack, unless something has failed.
    Done,
    /// What has failed so far is forgotten.
    Reset,
    /// So many modules are left out.
    Jump(usize),
}

impl Action {
    fn of(word: &str) -> Self {
        match word {
            "ignore" => Self::Ignore,
            "ok" => Self::Ok,
            "die" => Self::Die,
            "done" => Self::Done,
            "reset" => Self::Reset,
            // PAM takes what it cannot read for a failure.
            other => other.parse().map_or(Self::Bad, Self::Jump),
        }
    }
}

/// One line: a module, or that a substack begins.
#[derive(Debug)]
pub(super) struct Line {
    /// As it is written, without comment, words one space apart.
    pub(super) text: String,
    /// How many substacks it stands in.
    level: usize,
    /// By answer, what follows.
    actions: Vec<(String, Action)>,
}

impl Line {
    fn of(text: String, level: usize) -> Self {
        let actions = actions(&text);
        Self { text, level, actions }
    }

    /// What follows an answer of its module.
    pub(super) fn after(&self, answer: &str) -> Action {
        let of =
            |name: &str| self.actions.iter().find(|(answer, _)| answer == name).map(|(_, action)| *action);
        of(answer).or_else(|| of("default")).unwrap_or(Action::Bad)
    }

    /// All that may follow in a service: a module that asks for other services does not succeed.
    fn possible(&self, service: &str) -> impl Iterator<Item = Action> {
        let fails = self.is_for_others(service);
        self.actions
            .iter()
            .filter(move |(answer, _)| !(fails && answer == "success"))
            .map(|(_, action)| *action)
    }

    /// Whether it is a `pam_succeed_if` of which a condition on the service does not hold.
    fn is_for_others(&self, service: &str) -> bool {
        let words: Vec<&str> = self.text.split(' ').collect();
        let holds = |condition: &[&str]| match condition {
            ["service", "=", one] => *one == service,
            ["service", "!=", one] => *one != service,
            ["service", "in", list] => list.split(':').any(|one| one == service),
            ["service", "notin", list] => list.split(':').all(|one| one != service),
            _other_words => true,
        };
        self.text.contains("pam_succeed_if.so") && !words.windows(3).all(holds)
    }
}

/// `required`, or `[success=ok default=bad]`, as answers with their actions.
fn actions(line: &str) -> Vec<(String, Action)> {
    let control = line.split_once(' ').map_or("", |(_type, rest)| rest).to_ascii_lowercase();
    let pairs: &[(&str, Action)] = match control.split(' ').next().unwrap_or_default() {
        "required" => &[("success", Action::Ok), ("ignore", Action::Ignore), ("default", Action::Bad)],
        "requisite" => &[("success", Action::Ok), ("ignore", Action::Ignore), ("default", Action::Die)],
        "sufficient" => &[("success", Action::Done), ("default", Action::Ignore)],
        "optional" => &[("success", Action::Ok), ("default", Action::Ignore)],
        bracket if bracket.starts_with('[') => return bracketed(&control),
        _others => &[],
    };
    pairs.iter().map(|(answer, action)| ((*answer).to_owned(), *action)).collect()
}

fn bracketed(control: &str) -> Vec<(String, Action)> {
    let inside = control.trim_start_matches('[').split(']').next().unwrap_or_default().replace('=', " = ");
    let words: Vec<&str> = inside.split_whitespace().collect();
    let pairs = words.split(|word| *word == "=").collect::<Vec<_>>();
    pairs
        .windows(2)
        .filter_map(|pair| Some(((*pair[0].last()?).to_owned(), Action::of(pair[1].first()?))))
        .collect()
}

/// The session lines of a service with what it includes.
pub(super) fn session_lines(service: &str, dir: &Path) -> Vec<Line> {
    let mut reader = Reader { dir, files: 0, lines: Vec::new() };
    reader.add(service, 0, MAX_DEPTH);
    reader.lines
}

struct Reader<'a> {
    dir: &'a Path,
    /// How many were read.
    files: usize,
    lines: Vec<Line>,
}

impl Reader<'_> {
    fn add(&mut self, service: &str, level: usize, depth: usize) {
        if self.files == MAX_FILES || depth == 0 {
            return;
        }
        self.files += 1;
        let content = trusted_file::read_anyones(&self.dir.join(service), MAX_SIZE).unwrap_or_default();
        // A `\` at its end joins a line with the next.
        let text = String::from_utf8_lossy(&content).replace("\\\n", " ");
        for line in text.lines().map(|line| line.split('#').next().unwrap_or_default()) {
            self.add_line(&line.split_whitespace().collect::<Vec<_>>(), level, depth);
        }
    }

    fn add_line(&mut self, words: &[&str], level: usize, depth: usize) {
        let lower = |at: usize| words.get(at).map(|word| word.to_ascii_lowercase()).unwrap_or_default();
        let is_session = matches!(lower(0).as_str(), "session" | "-session");
        match (lower(0).as_str(), lower(1).as_str(), words) {
            ("@include", _, [_, other, ..]) => self.add(other, level, depth - 1),
            (_, "include", [_, _, other, ..]) if is_session => self.add(other, level, depth - 1),
            (_, "substack", [_, _, other, ..]) if is_session => {
                self.lines.push(Line { text: words.join(" "), level, actions: Vec::new() });
                self.add(other, level + 1, depth - 1);
            }
            _ if is_session => self.lines.push(Line::of(words.join(" "), level)),
            _other_types => {}
        }
    }
}

/// The line by which the one at `at` may never be reached, though nothing has failed.
pub(super) fn leaves_out<'a>(lines: &'a [Line], at: usize, service: &str) -> Option<&'a Line> {
    let skips = |(from, line): &(usize, &Line)| {
        line.possible(service).any(|action| next(lines, *from, action).is_some_and(|next| next > at))
    };
    lines.iter().enumerate().take(at).find(skips).map(|(_, line)| line)
}

/// The line by which a login goes on although the module of the line at `at` has answered so.
pub(super) fn goes_on_after<'a>(
    lines: &'a [Line],
    at: usize,
    answer: &str,
    service: &str,
) -> Option<&'a Line> {
    let line = &lines[at];
    let rest = match line.after(answer) {
        Action::Bad => at + 1,
        // The stacks around it go on.
        Action::Die => end(lines, at),
        Action::Ignore | Action::Ok | Action::Done | Action::Reset | Action::Jump(_) => return Some(line),
    };
    // What a substack resets is what has failed in it.
    let forgets = |later: &&Line| {
        later.level <= line.level && later.possible(service).any(|action| action == Action::Reset)
    };
    lines[rest..].iter().find(forgets)
}

/// The place of the line that is run after the one at `at`; none if the stack fails instead.
fn next(lines: &[Line], at: usize, action: Action) -> Option<usize> {
    let Action::Jump(count) = action else {
        return Some(if action == Action::Done { end(lines, at) } else { at + 1 });
    };
    let (level, end) = (lines[at].level, end(lines, at));
    let mut next = at + 1;
    for _ in 0..count {
        if next >= end {
            return None;
        }
        // A substack counts as one.
        next += 1 + lines[next + 1..].iter().take_while(|line| line.level > level).count();
    }
    Some(next)
}

/// Where the stack ends in which a line stands.
fn end(lines: &[Line], at: usize) -> usize {
    at + lines[at..].iter().take_while(|line| line.level >= lines[at].level).count()
}
