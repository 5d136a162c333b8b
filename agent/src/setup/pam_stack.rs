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

    /// All that may follow in a service. A `pam_succeed_if` that asks for the service alone has one answer.
    fn possible(&self, service: &str) -> Vec<Action> {
        let hold = self.conditions(service);
        let (fails, is_told) = (hold.contains(&Some(false)), hold.iter().all(Option::is_some));
        if is_told && !hold.is_empty() {
            return vec![self.after(if fails { "auth_err" } else { "success" })];
        }
        let left = self.actions.iter().filter(|(answer, _)| !(fails && answer == "success"));
        left.map(|(_, action)| *action).collect()
    }

    /// Whether each condition of a `pam_succeed_if` holds, where that can be told; none of other modules.
    fn conditions(&self, service: &str) -> Vec<Option<bool>> {
        let arguments = self.text.split(' ').skip_while(|word| !word.ends_with("pam_succeed_if.so")).skip(1);
        let is_flag = |word: &&str| {
            ["debug", "use_uid", "quiet", "quiet_fail", "quiet_success", "audit"].contains(word)
        };
        let words: Vec<&str> = arguments.filter(|word| !is_flag(word)).collect();
        let holds = |condition: &[&str]| match condition {
            // Brackets may make several words one.
            _ if words.iter().any(|word| word.contains('[')) => None,
            ["service", "=", one] => Some(*one == service),
            ["service", "!=", one] => Some(*one != service),
            ["service", "in", list] => Some(list.split(':').any(|one| one == service)),
            ["service", "notin", list] => Some(list.split(':').all(|one| one != service)),
            _others => None,
        };
        words.chunks(3).map(holds).collect()
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
        for line in whole_lines(&String::from_utf8_lossy(&content)) {
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

/// The lines without comments. A `\` at its end joins a line with the next that says something; a comment ends it
/// (Linux-PAM 1.5, `_pam_assemble_line`).
fn whole_lines(text: &str) -> Vec<String> {
    let (mut lines, mut begun) = (Vec::new(), String::new());
    for line in text.split('\n').map(|line| line.trim_matches([' ', '\t'])) {
        let (said, comment) =
            line.split_once('#').map_or((line, None), |(said, comment)| (said, Some(comment)));
        match said.strip_suffix('\\').filter(|_| comment.is_none()) {
            _nothing if said.is_empty() => {}
            Some(part) => begun = begun + part + " ",
            None => lines.push(std::mem::take(&mut begun) + said),
        }
    }
    lines.push(begun);
    lines
}

/// The line by which the one at `at` may never be reached, though nothing has failed.
pub(super) fn leaves_out<'a>(lines: &'a [Line], at: usize, service: &str) -> Option<&'a Line> {
    let skips = |(from, line): &(usize, &Line)| {
        line.possible(service)
            .into_iter()
            .any(|action| next(lines, *from, action).is_some_and(|next| next > at))
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
        // A failure that counts as `ok` or `done` is the stack's answer, too. `done` ends it unless something has failed.
        Action::Bad | Action::Ok | Action::Done => at + 1,
        // The stacks around it go on.
        Action::Die => end(lines, at),
        Action::Ignore | Action::Reset | Action::Jump(_) => return Some(line),
    };
    // A reset restores what was when its substack began: it forgets what has failed in that, and nothing before.
    let forgets = |later: &usize| {
        let is_around = lines[at..=*later].iter().all(|line| line.level >= lines[*later].level);
        is_around && lines[*later].possible(service).contains(&Action::Reset)
    };
    (rest..lines.len()).find(forgets).map(|later| &lines[later])
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
