//! `cotter`: what people run on their own machines. It logs in at the authority, keeps the certificate, and runs ssh.

#![forbid(unsafe_code)]

/// The command line.
pub mod cli;
/// A key and its certificate.
pub mod credential;
/// The directory of keys and certificates.
pub mod home;
