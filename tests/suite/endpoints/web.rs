//! A real web server that a session starts.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::Result;
use lab::{NODE_V4, Place};

use super::{Endpoints, HOLDING, NEVER, SOON, TCP};

/// Whether the server at the node shows a page.
fn shows_a_page(from: &Place, limit: Duration) -> Result<bool> {
    let connected = from.enter(|| TcpStream::connect_timeout(&(NODE_V4, TCP).into(), limit))?;
    let Ok(mut stream) = connected else { return Ok(false) };
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut page = String::new();
    Ok(stream.read_to_string(&mut page).is_ok() && page.starts_with("HTTP/1.0 200 OK"))
}

#[test]
fn a_web_server_is_reached_from_its_sessions_pin_alone_where_a_role_says_all_and_else_from_everywhere()
-> Result<()> {
    let node = Endpoints::new()?;
    for (role, held) in [(HOLDING, true), (crate::scene::PINNING, false)] {
        let login = node.scene.at_alice(&node.alice_as(role)?);
        let mut session = login.run_at_terminal(&format!("exec python3 -m http.server {TCP}"))?;
        node.lists("tcp", TCP)?;
        assert!(shows_a_page(&node.scene.lab.alice(), SOON)?, "{role}");
        let limit = if held { NEVER } else { SOON };
        assert_eq!(shows_a_page(&node.scene.lab.elsewhere(), limit)?, !held, "{role}");
        session.hang_up()?;
        node.scene.deserted()?;
    }
    Ok(())
}
