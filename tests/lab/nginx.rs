//! A real nginx in front of something: it ends TLS, and says in `X-Forwarded-For` whose request it passes on.

use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::{Context, Result};

use crate::haproxy::listens;
use crate::place::Place;
use crate::process::Process;

const NGINX: &str = "/usr/sbin/nginx";

/// A running nginx, at a port of all addresses of a place.
#[derive(Debug)]
pub struct Nginx {
    fingerprint: String,
    _process: Process,
}

impl Nginx {
    /// Starts one at `place` that sends HTTPS requests to its `port` on to the HTTPS of `to`, with the client's address
    /// appended to their `X-Forwarded-For`.
    pub fn start(place: &Place, port: u16, to: SocketAddr) -> Result<Self> {
        let forwarded = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;";
        Self::saying(place, port, to, forwarded)
    }

    /// The same with other directives than the one that tells the client's address.
    pub fn saying(place: &Place, port: u16, to: SocketAddr, directives: &str) -> Result<Self> {
        let directory = format!("/run/nginx-{port}");
        place.run("mkdir", &["-p", &directory])?;
        let (certificate, key) = (format!("{directory}/certificate.pem"), format!("{directory}/key.pem"));
        let request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let subject = ["-subj", "/CN=lab", "-keyout", &key, "-out", &certificate];
        place.run("openssl", &[&request[..], &subject[..]].concat())?;
        let fingerprint = ["x509", "-in", &certificate, "-noout", "-fingerprint", "-sha256"];
        let fingerprint = place.run("openssl", &fingerprint)?;
        let (_, fingerprint) = fingerprint.trim().split_once('=').context("no fingerprint")?;
        // In the foreground, one process: with it ends all that it is.
        let text = format!(
            "daemon off; master_process off; pid {directory}/pid; error_log {directory}/error.log;\n\
             events {{ worker_connections 64; }}\n\
             http {{\n  access_log off;\n  client_body_temp_path {directory}/body;\n  \
             proxy_temp_path {directory}/proxy;\n  server {{\n    \
             listen {port} ssl; listen [::]:{port} ssl;\n    \
             ssl_certificate {certificate}; ssl_certificate_key {key};\n    \
             location / {{ proxy_pass https://{to}; {directives} }}\n  }}\n}}\n"
        );
        let configuration = format!("{directory}/nginx.conf");
        place.write(&configuration, &text)?;
        let mut nginx = Place::command(NGINX);
        nginx.args(["-c", &configuration]).stdout(Stdio::null()).stderr(Stdio::null());
        let process = place.spawn(&mut nginx)?;
        listens(place, port)?;
        Ok(Self { fingerprint: format!("SHA256:{}", fingerprint.to_lowercase()), _process: process })
    }

    /// Of the TLS certificate that it shows.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}
