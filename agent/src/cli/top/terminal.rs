//! The terminal: taken for the picture, and given back however the watching ends.

use super::look::Look;
use super::model::{Model, Wish};
use super::{Common, Failure, view};
use crate::clock;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use std::io::{self, Stdout, stdout};
use std::sync::mpsc::{self, Sender};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// What happens while watching.
enum Message {
    /// The agent was asked.
    Looked(Box<Result<Look, String>>),
    /// A key was pressed.
    Pressed(Wish),
    /// The terminal has another size.
    Resized,
    /// A signal, or the terminal is gone.
    End,
}

/// Shows the model until a key or a signal ends it. Asking, reading keys and awaiting signals have a thread each, so that
/// an agent which takes its time keeps nobody from quitting.
pub(super) fn watch(common: &Common, interval: Duration, mut model: Model) -> Result<(), Failure> {
    let (sender, messages) = mpsc::channel();
    // Before the terminal is taken: a signal in between would leave it so.
    signals(sender.clone()).map_err(Failure::unavailable)?;
    let no_terminal = |error| Failure::usage(format!("the terminal cannot be used: {error}"));
    let mut screen = Screen::take().map_err(no_terminal)?;
    let (to, common) = (sender.clone(), common.clone());
    std::thread::spawn(move || looks(&common, interval, &to));
    std::thread::spawn(move || keys(&sender));
    loop {
        screen.draw(&model).map_err(no_terminal)?;
        match messages.recv() {
            Ok(Message::Looked(look)) => model.take(*look),
            Ok(Message::Pressed(wish)) if model.obey(wish) => {}
            Ok(Message::Resized) => {}
            Ok(Message::Pressed(_) | Message::End) | Err(mpsc::RecvError) => return Ok(()),
        }
    }
}

fn looks(common: &Common, interval: Duration, to: &Sender<Message>) {
    loop {
        std::thread::sleep(interval);
        let look = Look::take(common).map_err(|failure| failure.message().to_owned());
        if to.send(Message::Looked(Box::new(look))).is_err() {
            return;
        }
    }
}

fn keys(to: &Sender<Message>) {
    loop {
        let message = match event::read() {
            Ok(Event::Key(key)) => wish(key).map(Message::Pressed),
            Ok(Event::Resize(..)) => Some(Message::Resized),
            Ok(Event::FocusGained | Event::FocusLost | Event::Mouse(_) | Event::Paste(_)) => None,
            Err(_gone) => Some(Message::End),
        };
        let end = matches!(message, Some(Message::End));
        if message.is_some_and(|message| to.send(message).is_err()) || end {
            return;
        }
    }
}

/// How far the keys for pages go.
const PAGE: isize = 10;

const KEYS: [(KeyCode, Wish); 12] = [
    (KeyCode::Char('q'), Wish::Quit),
    (KeyCode::Esc, Wish::Quit),
    (KeyCode::Char('j'), Wish::Move(1)),
    (KeyCode::Down, Wish::Move(1)),
    (KeyCode::Char('k'), Wish::Move(-1)),
    (KeyCode::Up, Wish::Move(-1)),
    (KeyCode::PageDown, Wish::Move(PAGE)),
    (KeyCode::PageUp, Wish::Move(-PAGE)),
    (KeyCode::End, Wish::Move(isize::MAX)),
    (KeyCode::Home, Wish::Move(isize::MIN)),
    (KeyCode::Char('s'), Wish::Sort),
    (KeyCode::Char('p'), Wish::Pause),
];

fn wish(key: KeyEvent) -> Option<Wish> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return (key.code == KeyCode::Char('c')).then_some(Wish::Quit);
    }
    KEYS.iter().find(|(code, _)| *code == key.code).map(|(_, wish)| *wish)
}

/// Has the signals that would end the process end the watching instead.
fn signals(to: Sender<Message>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let context = runtime.enter();
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(context);
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = hangup.recv() => {}
                _ = interrupt.recv() => {}
                _ = quit.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        // Nobody listens: it ends already.
        let _ended = to.send(Message::End);
    });
    Ok(())
}

/// The terminal with the picture on it; dropping it gives the terminal back.
struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    _taken: Taken,
}

impl Screen {
    fn take() -> io::Result<Self> {
        let report = std::panic::take_hook();
        // Also of another thread's: without it nothing would come any more.
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            report(panic);
            std::process::exit(101);
        }));
        enable_raw_mode()?;
        let taken = Taken;
        execute!(stdout(), EnterAlternateScreen, Hide)?;
        Ok(Self { terminal: Terminal::new(CrosstermBackend::new(stdout()))?, _taken: taken })
    }

    fn draw(&mut self, model: &Model) -> io::Result<()> {
        self.terminal.draw(|frame| view::draw(frame, model, clock::unix())).map(drop)
    }
}

struct Taken;

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

/// A terminal that is gone need not be given back.
fn give_back() {
    let _gone = execute!(stdout(), LeaveAlternateScreen, Show);
    let _gone = disable_raw_mode();
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::crossterm::terminal::is_raw_mode_enabled;
    use std::process::{Command, Stdio};

    #[test]
    fn keys_do_what_the_last_line_says() {
        let pressed = |code, modifiers| wish(KeyEvent::new(code, modifiers));
        let plain = KeyModifiers::NONE;
        assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Wish::Quit));
        assert_eq!(pressed(KeyCode::Char('c'), plain), None);
        assert_eq!(pressed(KeyCode::Char('q'), plain), Some(Wish::Quit));
        assert_eq!(pressed(KeyCode::Char('q'), KeyModifiers::CONTROL), None);
        assert_eq!(pressed(KeyCode::Down, plain), Some(Wish::Move(1)));
        let released = KeyEvent::new_with_kind(KeyCode::Char('q'), plain, KeyEventKind::Release);
        assert_eq!(wish(released), None);
    }

    /// It runs itself once more on a terminal, to panic there.
    #[test]
    fn a_panic_gives_the_terminal_back() {
        const HERE: &str = "COTTER_TEST_PANICS_HERE";
        if std::env::var_os(HERE).is_some() {
            let _screen = Screen::take().unwrap();
            assert!(is_raw_mode_enabled().unwrap());
            panic!("on purpose");
        }
        let test = "cli::top::terminal::tests::a_panic_gives_the_terminal_back";
        let test = format!("{} --exact {test} --nocapture", std::env::current_exe().unwrap().display());
        let shell = format!("stty -g; {HERE}=1 {test}; echo code=$?; stty -g");
        let mut script = Command::new("script");
        let said = script.args(["-qec", &shell, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let settings: Vec<&str> = said.lines().map(str::trim).filter(|line| line.contains(":0:")).collect();
        assert_eq!(settings.len(), 2, "{said:?}");
        assert_eq!(settings[0], settings[1]);
        let (_, taken) = said.split_once("\u{1b}[?1049h").expect("the terminal was taken");
        let (picture, after) = taken.split_once("\u{1b}[?1049l").expect("the terminal was given back");
        assert!(!picture.contains("on purpose"), "it would be told where nobody sees it: {said:?}");
        assert!(after.contains("\u{1b}[?25h") && after.contains("on purpose"), "{said:?}");
        assert!(after.contains("code=101"), "{said:?}");
    }
}
