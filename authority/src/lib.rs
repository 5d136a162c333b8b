//! `cotter-authority`: the login service. It sees where people log in from, and issues certificates that are pinned there.

#![forbid(unsafe_code)]

/// What was decided, for the journal.
pub mod audit;
/// The keys that certificates are signed with.
pub mod ca;
/// The certificate that a login ends with.
pub mod certificate;
/// The command line.
pub mod cli;
mod clock;
mod complaint;
/// The configuration file.
pub mod config;
/// A connection before its first request.
pub mod connection;
mod files;
/// What somebody's roles give them.
pub mod grant;
/// What is answered over HTTPS.
pub mod http;
/// What tells nodes made-up knocks from others.
pub mod knock_secret;
/// A login.
pub mod login;
/// Where a request comes from.
pub mod observe;
/// Passwords.
pub mod password;
/// What nodes follow.
pub mod policy;
/// Codes that change every half minute.
pub mod second_factor;
mod serve;
mod serving;
mod share;
mod source;
/// Where somebody was seen, in the authority's own word.
pub mod statement;
/// What outlives the authority.
pub mod store;
/// Who guesses is kept waiting.
pub mod throttle;
/// The certificate that the authority shows.
pub mod tls;
