//! The lab: a node with a real sshd and a real agent, and the hosts around it, in namespaces that vanish with the
//! process that made them.
//!
//! | file | noun |
//! |---|---|
//! | `lab` | a lab: its namespaces, its files, its end |
//! | `place` | where a thing happens: on the node or on a host around it |
//! | `process` | a process there |
//! | `network` | who is wired to the node, and by which addresses |
//! | `authority` | a real authority on the node, and people who log in there |
//! | `haproxy`, `nginx` | real balancers in front of it |
//! | `https` | a request of which every byte is the test's |
//! | `postgres` | a real PostgreSQL on the node |
//! | `client` | `cotter` and its like as somebody at some place runs them |
//! | `ca` | a certificate authority and what it issues |
//! | `hoard` | certificates by the hundred, and the ssh-agent that offers them |
//! | `knocker` | who knocks at the node |
//! | `sshd` | a real sshd on the node |
//! | `ssh` | a login from some place, short or long |
//! | `agent` | a real agent on the node |
//! | `relay` | a real relay on the node |
//! | `runner`, `service` | what runs it: the test itself, or systemd by the package's unit |
//! | `terminal` | a terminal with a program on it, as a person sees it |
//! | `capture` | packets seen on a wire |
//! | `frames` | packets made byte by byte |
//! | `kernel` | what the running kernel offers |
//! | `counter` | what the kernel has counted |
//! | `eventually` | waiting for a condition |

mod agent;
mod authority;
mod ca;
mod capture;
mod client;
pub mod counter;
mod eventually;
pub mod frames;
mod haproxy;
mod hoard;
mod https;
mod joint;
pub mod kernel;
mod knocker;
mod lab;
mod mosh;
mod network;
mod nginx;
mod pause;
mod place;
mod postgres;
mod process;
mod relay;
mod runner;
mod scopes;
mod service;
mod ssh;
mod sshd;
mod terminal;

pub use agent::{AGENT, Agent, AgentSetup, Mark};
pub use authority::{Authority, Storage};
pub use ca::{Ca, Identity, Order};
pub use capture::Capture;
pub use client::Client;
pub use eventually::{eventually, within};
pub use haproxy::Haproxy;
pub use hoard::Hoard;
pub use https::{Answer, Https, until_closed};
pub use joint::Joint;
pub use knocker::Knocker;
pub use lab::{Lab, cgroup2};
pub use mosh::{Mosh, move_to};
pub use network::{ALICE, ELSEWHERE, INSIDE, NODE_V4, NODE_V6, Wire};
pub use nginx::Nginx;
pub use place::Place;
pub use postgres::Postgres;
pub use process::Process;
pub use relay::Relay;
pub use ssh::{Login, Session};
pub use sshd::{Sshd, SshdSetup};
pub use terminal::Terminal;
