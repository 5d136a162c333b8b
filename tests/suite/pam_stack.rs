//! A user's own environment file in the distribution's own PAM stack: nobody gets in by false facts.

use std::fmt::Write as _;

use anyhow::Result;
use lab::{Identity, Order, eventually};

use crate::scene::{AT_ALICE, PINNING, Scene, text};

/// Where the hook belongs: behind what makes the session's control group, before all that reads files of the user's.
const RIGHT: &str = "@include common-session";
/// Behind the line that reads `~/.pam_environment`.
const WRONG: &str = "session required pam_env.so user_readenv=1";

/// sshd accepts alice's certificates itself, without asking at step one, so that all depends on the session hook.
const UNASKED: &str = "Match User alice\nAuthorizedPrincipalsCommand /usr/bin/echo %u";

/// A node with Debian's `/etc/pam.d/sshd` and the hook's line in it.
fn debian(hook_behind: &str) -> Result<Scene> {
    Scene::new("enforce", |agent| agent, |sshd| sshd.distributions_pam(hook_behind).last_line(UNASKED))
}

/// Alice's certificate without the pin that her role asks for.
fn unpinned(scene: &Scene) -> Result<Identity> {
    let order = Order { options: &[PINNING], ..Order::login("alice", &["alice"]) };
    scene.ca.issue("unpinned", &order)
}

/// What a user's own environment file may set.
type Setting = (&'static str, String);

/// Has alice's `~/.pam_environment` set these, and a mark by which her shell can tell that it was read.
fn brings(scene: &Scene, settings: &[Setting]) -> Result<()> {
    let mut file = String::from("BROUGHT DEFAULT=along\n");
    for (name, value) in settings {
        let _ = writeln!(file, "{name} DEFAULT=\"{value}\" OVERRIDE=\"{value}\"");
    }
    scene.lab.node().write("/home/alice/.pam_environment", &file)
}

const OTHERWISE: &str = "198.51.222.2 4711 198.51.100.10 22";

/// All that she could wish to be believed: somebody else, from somewhere else, with the emergency key.
fn lies(scene: &Scene) -> Result<Vec<Setting>> {
    let key = scene.lab.node().read(scene.break_glass()?.public())?;
    let key: Vec<_> = key.split(' ').take(2).collect();
    Ok(vec![
        ("SSH_AUTH_INFO_0", format!("publickey {}", key.join(" "))),
        ("SSH_CONNECTION", OTHERWISE.to_owned()),
        ("PAM_USER", "bob".to_owned()),
        ("PAM_TYPE", "account".to_owned()),
        ("PAM_SERVICE", "cron".to_owned()),
        ("PAM_RHOST", "198.51.222.2".to_owned()),
        ("LD_PRELOAD", "/home/alice/mine.so".to_owned()),
    ])
}

#[test]
fn where_the_hook_belongs_a_user_who_lies_is_judged_by_the_facts() -> Result<()> {
    let scene = debian(RIGHT)?;
    let (alice, unpinned) = (scene.alice()?, unpinned(&scene)?);
    brings(&scene, &lies(&scene)?)?;
    assert_eq!(scene.refused_a_session(&scene.at_alice(&unpinned), "pin_missing")?["step"], "session");
    let seen = scene.at_alice(&alice).succeed("echo $BROUGHT")?;
    assert_eq!(seen, "along\n", "the file was read, and too late");
    scene.deserted()?;
    let mut session = scene.at_alice(&alice).stay()?;
    let listed = scene.session_of("alice")?;
    assert_eq!((&listed["user"], &listed["observed"]), (&"alice".into(), &"198.51.111.1".into()));
    assert_eq!(listed["pinned"], serde_json::json!([AT_ALICE]));
    session.hang_up()?;
    scene.deserted()
}

#[test]
fn behind_the_users_own_file_the_hook_refuses_who_speaks_for_pam_and_says_so() -> Result<()> {
    let scene = debian(WRONG)?;
    let alice = scene.alice()?;
    assert_eq!(scene.at_alice(&alice).succeed("echo in")?, "in\n");
    // SSH_AUTH_INFO_0 is not doubled but replaced, which nobody can see: for this the hook must stand where it belongs.
    let noticed = |(name, _): &Setting| name.starts_with("PAM_") || name.starts_with("LD_");
    for lie in lies(&scene)?.into_iter().filter(noticed) {
        let name = lie.0;
        brings(&scene, &[lie])?;
        let output = scene.at_alice(&alice).run("echo in")?;
        assert!(!output.status.success(), "{name}: {output:?}");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("brings settings of its own"), "{name}: {said}");
        scene.deserted()?;
    }
    Ok(())
}

#[test]
fn behind_the_users_own_file_the_connection_is_still_the_kernels_word() -> Result<()> {
    let scene = debian(WRONG)?;
    let (alice, unpinned) = (scene.alice()?, unpinned(&scene)?);
    brings(&scene, &[("SSH_CONNECTION", OTHERWISE.to_owned())])?;
    scene.refused_a_session(&scene.at_alice(&unpinned), "pin_missing")?;
    let _session = scene.at_alice(&alice).stay()?;
    let listed = scene.session_of("alice")?;
    assert_eq!(listed["observed"], "198.51.111.1");
    assert!(text(&listed, "peer")?.starts_with("198.51.111.1:"), "{listed}");
    Ok(())
}

#[test]
fn nothing_that_runs_as_root_hears_what_a_user_tells_the_loader() -> Result<()> {
    let scene = debian(RIGHT)?;
    let trace = "/run/loader";
    brings(&scene, &[("LD_DEBUG", "libs".to_owned()), ("LD_DEBUG_OUTPUT", format!("{trace}/of"))])?;
    scene.lab.node().run("install", &["-d", "-m", "700", trace])?;
    // Her own programs hear it, and tell her, as they may not write there.
    assert!(scene.at_alice(&scene.alice()?).succeed("echo $BROUGHT")?.ends_with("along\n"));
    eventually("sshd's monitor has ended", || {
        Ok(scene.lab.node().run("sh", &["-c", "pgrep -f '^sshd: alice' || true"])?.is_empty().then_some(()))
    })?;
    assert_eq!(scene.lab.node().run("ls", &[trace])?, "", "traces that only root can have left");
    Ok(())
}
