//! The program itself, against agents that are dead, hung, dribbling, of another time, or well.

#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod agent;
mod node;

mod pam;
mod principals;
