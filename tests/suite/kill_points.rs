//! prototype
use std::process::{Command, Stdio};
use anyhow::Result;
use lab::eventually;
use crate::scene::Scene;

#[test]
fn record() -> Result<()> {
    let scene = Scene::enforcing()?;
    let alice = scene.alice()?;
    scene.at_alice(&alice).succeed("true")?;
    scene.deserted()?;
    let pid = scene.agent.pid()?.as_raw_nonzero().to_string();
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let e = entry?.path();
        println!("{} {}", e.display(), std::fs::read_to_string(e.join("comm"))?.trim());
    }
    let mut strace = Command::new("strace").args(["-f", "-ttt", "-o", "/tmp/scratch/faults/record", "-p", &pid]).stderr(Stdio::null()).spawn()?;
    eventually("attached", || Ok(std::fs::read_to_string(format!("/proc/{pid}/status"))?.lines().any(|l| l.starts_with("TracerPid:") && !l.ends_with("\t0")).then_some(())))?;
    let t = std::time::Instant::now();
    let s = scene.at_alice(&alice).stay()?;
    println!("login {:?}", t.elapsed());
    drop(s);
    rustix::process::kill_process(rustix::process::Pid::from_child(&strace), rustix::process::Signal::TERM)?;
    strace.wait()?;
    let t = std::time::Instant::now();
    let mut scene = scene;
    scene.agent.kill9()?;
    println!("kill {:?}", t.elapsed());
    scene.agent.start()?;
    println!("restart {:?}", t.elapsed());
    scene.deserted()?;
    println!("deserted {:?}", t.elapsed());
    Ok(())
}
