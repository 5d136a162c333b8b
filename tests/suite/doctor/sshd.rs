//! What is wrong with sshd's configuration and with PAM's.

use anyhow::Result;

use super::{CONFIG, Findings, findings, right, shell, with_changed};
use crate::scene::Scene;

const SNIPPET: &str = "/etc/ssh/sshd_config.d/50-cotter.conf";
const SSHD: &str = "/etc/ssh/sshd_config";
const PAM: &str = "/etc/pam.d/sshd";
const COMMAND: &str =
    "AuthorizedPrincipalsCommand /usr/lib/cotter/cotter-hook principals --user %u --cert %k";
const USER: &str = "AuthorizedPrincipalsCommandUser nobody";

/// With this line first in sshd's configuration.
fn with_line(scene: &Scene, line: &str) -> Result<Findings> {
    with_changed(scene, SSHD, "", &format!("{line}\n"))
}

/// With these lines last, where blocks stand.
fn with_block(scene: &Scene, lines: &str) -> Result<Findings> {
    let last = "Include /etc/ssh/sshd_config.d/50-cotter.conf\n";
    with_changed(scene, SSHD, last, &format!("{last}{lines}\n"))
}

#[test]
fn a_configuration_that_sshd_refuses() -> Result<()> {
    let scene = right(|agent| agent)?;
    with_line(&scene, "Nonsense yes")?.have("sshd", "error", "Bad configuration option: Nonsense");
    with_block(&scene, "Match User !root\nX11Forwarding no")?.have(
        "sshd-match",
        "warning",
        "Match User !root",
    );
    Ok(())
}

#[test]
fn a_command_that_is_not_asked_or_not_ours() -> Result<()> {
    const ID: &str = "principals-command";
    let scene = right(|agent| agent)?;
    let with = |from: &str, to: &str| with_changed(&scene, SNIPPET, from, to);
    with(&format!("{COMMAND}\n{USER}"), "")?.have(ID, "warning", "setup sshd");
    with(COMMAND, "AuthorizedPrincipalsCommand /bin/echo %u")?.have(ID, "error", "/bin/echo");
    with(USER, "AuthorizedPrincipalsCommandUser root")?.have(ID, "warning", "as root");
    with(USER, "AuthorizedPrincipalsCommandUser nemo")?.have(ID, "error", "no account");
    let block = "Match User git\nAuthorizedPrincipalsCommand none";
    with_block(&scene, block)?.have(ID, "warning", "Match User git: sshd does not ask");
    Ok(())
}

#[test]
fn what_gets_in_without_being_asked_about() -> Result<()> {
    let scene = right(|agent| agent)?;
    let file = "AuthorizedPrincipalsFile /etc/ssh/principals/%u";
    with_line(&scene, file)?.have("principals-file", "warning", "/etc/ssh/principals/%u");
    with_block(&scene, &format!("Match Address 192.0.2.0/24\n{file}"))?.have(
        "principals-file",
        "warning",
        "Match Address 192.0.2.0/24: ",
    );
    with_block(&scene, "Match User git\nUsePAM no")?.have("sshd", "error", "UsePAM");
    with_line(&scene, "UsePAM no")?.have("use-pam", "error", "set UsePAM yes");

    let own = "AuthorizedKeysFile .ssh/authorized_keys /etc/cotter/break-glass.keys";
    with_line(&scene, own)?.have("authorized-keys", "warning", ".ssh/authorized_keys");
    let command = "AuthorizedKeysCommand /bin/true\nAuthorizedKeysCommandUser nobody";
    with_line(&scene, command)?.have("authorized-keys", "warning", "AuthorizedKeysCommand");
    let block = "Match User git\nAuthorizedKeysFile /srv/git/keys";
    let found = with_block(&scene, block)?;
    found.have("authorized-keys", "warning", "Match User git: keys of /srv/git/keys");
    found.have("break-glass-asked", "warning", "Match User git: ");
    for word in ["allow", "deny"] {
        let config = scene.lab.node().read(CONFIG)?;
        scene.lab.node().write(CONFIG, &format!("other_logins = \"{word}\"\n{config}"))?;
        with_line(&scene, own)?.have("authorized-keys", "ok", "");
        scene.lab.node().write(CONFIG, &config)?;
    }
    Ok(())
}

#[test]
fn logins_without_any_key() -> Result<()> {
    const ID: &str = "other-logins";
    let scene = right(|agent| agent)?;
    for (keyword, method) in [
        ("PasswordAuthentication", "password"),
        ("KbdInteractiveAuthentication", "keyboard-interactive"),
        ("GSSAPIAuthentication", "gssapi-with-mic"),
        ("HostbasedAuthentication", "hostbased"),
    ] {
        let line = format!("{keyword} yes");
        with_line(&scene, &line)?.have(ID, "warning", &format!("all logins: {method} logins get in"));
        let found = with_block(&scene, &format!("Match User git\n{line}"))?;
        found.have(ID, "warning", &format!("Match User git: {method} logins get in"));
    }
    let password = "PasswordAuthentication yes";
    with_line(&scene, &format!("{password}\nAuthenticationMethods publickey,password"))?.have(ID, "ok", "");
    let found = with_line(&scene, &format!("{password}\nAuthenticationMethods publickey password"))?;
    found.have(ID, "warning", "all logins: password logins");
    for word in ["allow", "deny"] {
        let config = scene.lab.node().read(CONFIG)?;
        scene.lab.node().write(CONFIG, &format!("other_logins = \"{word}\"\n{config}"))?;
        with_line(&scene, password)?.have(ID, "ok", "");
        scene.lab.node().write(CONFIG, &config)?;
    }
    Ok(())
}

#[test]
fn an_openssh_that_is_too_old_or_does_not_say() -> Result<()> {
    const ID: &str = "sshd-version";
    let scene = right(|agent| agent)?;
    findings(&scene)?.have(ID, "ok", "OpenSSH_");
    let says = |said: &str| {
        let script = "cp -n /usr/sbin/sshd /run/sshd-itself; printf '#!/bin/sh\\n\
            if [ \"$1\" = -V ]; then echo \"%s\" >&2; exit 1; fi; exec /run/sshd-itself \"$@\"\\n'";
        shell(
            &scene,
            &format!("{script} '{said}' >/run/old; chmod 755 /run/old; mount --bind /run/old /usr/sbin/sshd"),
        )?;
        let found = findings(&scene);
        shell(&scene, "umount /usr/sbin/sshd")?;
        found
    };
    let old = "unknown option -- V\nOpenSSH_8.4p1 Debian-5+deb11u3, OpenSSL 1.1.1w";
    says(old)?.have(ID, "warning", "OpenSSH_8.4p1 is older than any that Cotter is tested with");
    says("nothing")?.have(ID, "warning", "cannot be told");
    Ok(())
}

#[test]
fn a_login_that_takes_longer_than_the_agent_waits() -> Result<()> {
    let scene = right(|agent| agent)?;
    with_line(&scene, "LoginGraceTime 121")?.have("login-grace-time", "warning", "121 s");
    with_line(&scene, "LoginGraceTime 0")?.have("login-grace-time", "warning", "for ever");
    Ok(())
}

#[test]
fn authorities_that_only_one_side_trusts_or_that_come_in_another_way() -> Result<()> {
    let scene = right(|agent| agent)?;
    let node = scene.lab.node();
    let other = lab::Ca::new(node, "other")?.public_key()?;
    let keys = "/etc/cotter/user_ca.pub";
    let ours = node.read(keys)?;
    with_changed(&scene, keys, "", &other)?.have("trusted-ca", "warning", "and the agent does not");
    let found = with_changed(&scene, keys, &ours, &other)?;
    found.have("trusted-ca", "warning", "and sshd does not");
    with_changed(&scene, keys, &ours, "garbage\n")?.have("trusted-ca", "warning", "mend the file");
    node.write("/etc/ssh/git_ca.pub", &other)?;
    let found = with_block(&scene, "Match User git\nTrustedUserCAKeys /etc/ssh/git_ca.pub")?;
    found.have("trusted-ca", "warning", "Match User git: sshd trusts the authority");
    with_line(&scene, "TrustedUserCAKeys none")?.have("trusted-ca", "warning", "trusts no authority");

    let emergency = "/etc/cotter/break-glass.keys";
    let with = |line: &str| with_changed(&scene, emergency, "", &format!("cert-authority {line}"));
    with(&ours)?.have("cert-authority", "warning", "which the agent trusts too");
    with(&other)?.have("cert-authority", "warning", "break-glass.keys makes SHA256:");
    shell(&scene, "mkdir /etc/ssh/keys")?;
    node.write("/etc/ssh/keys/alice", &format!("cert-authority,principals=\"root\" {other}"))?;
    let found = with_line(&scene, "AuthorizedKeysFile /etc/ssh/keys/%u /etc/cotter/break-glass.keys")?;
    found.have("cert-authority", "warning", "/etc/ssh/keys/alice makes SHA256:");
    let of_alice = || with_block(&scene, "Match User alice\nAuthorizedKeysFile /etc/ssh/keys/alice");
    let found = of_alice()?;
    found.have("cert-authority", "warning", "/etc/ssh/keys/alice makes SHA256:");
    node.write("/etc/ssh/keys/alice", &format!("cert-authority {other}\ncert-authority {ours}"))?;
    of_alice()?.have("cert-authority", "warning", "an authority (and 1 more)");
    Ok(())
}

#[test]
fn authorities_of_which_it_cannot_be_told() -> Result<()> {
    const ID: &str = "authorities-unclear";
    let scene = right(|agent| agent)?;
    shell(&scene, "head -c 1048577 /dev/zero | tr '\\0' '#' >/etc/ssh/large; mkfifo /etc/ssh/pipe")?;
    with_line(&scene, "TrustedUserCAKeys /etc/ssh/large")?.have(ID, "warning", "larger than 1048576 bytes");
    with_line(&scene, "TrustedUserCAKeys /etc/ssh/pipe")?.have(ID, "warning", "not a regular file");
    let keys =
        |file: &str| with_line(&scene, &format!("AuthorizedKeysFile {file} /etc/cotter/break-glass.keys"));
    keys("/etc/ssh/large")?.have(ID, "warning", "/etc/ssh/large: larger than 1048576 bytes");
    keys("/etc/ssh/%h/keys")?.have(ID, "warning", "AuthorizedKeysFile /etc/ssh/%h/keys: what %h stands for");

    // A user may put a pipe where the file was, and have whoever opens it wait.
    shell(
        &scene,
        "mkdir -p /etc/ssh/by/alice /etc/ssh/by/bob; mkfifo /etc/ssh/by/bob/keys; echo >/etc/ssh/by/file",
    )?;
    let other = lab::Ca::new(scene.lab.node(), "other")?.public_key()?;
    scene.lab.node().write("/etc/ssh/by/alice/keys", &format!("cert-authority {other}"))?;
    let found = keys("/etc/ssh/by/%u/keys")?;
    found.have(ID, "warning", "/etc/ssh/by/bob/keys: not a regular file");
    found.have("cert-authority", "warning", "/etc/ssh/by/alice/keys makes SHA256:");
    assert!(!format!("{:?}", found.troubles()).contains("/by/file"), "{:#?}", found.troubles());

    // In a directory of hers a link may lead to what must not be opened.
    shell(
        &scene,
        "ln -s /proc/kmsg /etc/ssh/by/alice/log; chown alice /etc/ssh/by/alice; mkdir -m 777 /etc/ssh/by/any",
    )?;
    keys("/etc/ssh/by/%u/log")?.have(
        ID,
        "warning",
        "/etc/ssh/by/alice/log and 1 more: users may have put it there",
    );
    Ok(())
}

#[test]
fn pam_that_does_not_run_the_hook_where_it_belongs() -> Result<()> {
    let scene = right(|agent| agent)?;
    let hook = "session include cotter\n";
    with_changed(&scene, PAM, hook, "")?.have("pam", "error", "which sshd asks");
    let environment = "session required pam_env.so user_readenv=1\n";
    with_changed(&scene, PAM, hook, &format!("{environment}{hook}"))?.have("pam", "error", "deceive");
    with_changed(&scene, "/etc/pam.d/cotter", " type=open_session /usr", " /usr")?.have(
        "pam",
        "error",
        "type=open_session",
    );
    Ok(())
}

#[test]
fn pam_by_which_logins_pass_the_hook_by() -> Result<()> {
    let scene = right(|agent| agent)?;
    shell(&scene, "echo 'session sufficient pam_permit.so' >/etc/pam.d/site")?;
    let hook = "session include cotter\n";
    let before = |line: &str| with_changed(&scene, PAM, hook, &format!("{line}\n{hook}"));
    for line in [
        "session sufficient pam_permit.so",
        "@include site",
        "session [success=1 default=ignore] pam_succeed_if.so quiet user = git",
    ] {
        before(line)?.have("pam", "error", "may leave the hook out, by `session ");
    }
    for line in [
        "session substack site",
        "session [success=1 default=ignore] pam_succeed_if.so quiet service notin sshd",
    ] {
        before(line)?.have("pam", "ok", "");
    }
    let found = with_changed(&scene, "/etc/pam.d/cotter", "session required", "session optional")?;
    found.have("pam", "error", "lets logins in that the hook denies, by `session optional pam_exec.so");
    let reset = "session [success=reset default=ignore] pam_permit.so";
    let found = with_changed(&scene, PAM, hook, &format!("{hook}{reset}\n"))?;
    found.have("pam", "error", &format!("lets logins in that the hook denies, by `{reset}`"));
    Ok(())
}

#[test]
fn a_hook_that_sshd_does_not_run() -> Result<()> {
    let scene = right(|agent| agent)?;
    shell(&scene, "chmod 775 /usr/lib/cotter/cotter-hook")?;
    findings(&scene)?.have("hook", "error", "is not root's alone");
    shell(&scene, "chmod 700 /usr/lib/cotter/cotter-hook")?;
    findings(&scene)?.have("hook", "error", "not everybody may run");
    shell(&scene, "rm /usr/lib/cotter/cotter-hook")?;
    findings(&scene)?.have("hook", "error", "No such file");
    Ok(())
}
