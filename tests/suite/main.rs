//! The suite: everything that is proven with a real sshd, a real client, real certificates and real packets.
#![allow(clippy::unwrap_used, reason = "an error where none may be is how a test fails")]

/// The lab itself: a certificate login works, labs do not touch each other or the host, nothing is left behind.
mod lab_itself;

/// The audit trail in the event file: one JSON object a decision, with all its members, and never a flood.
mod audit_trail;
/// The whole story without any outside authority: a login by password, a pin, a move, a refusal, a new login.
mod authority;
/// Behind balancers users are where these say: to sshd, to the agent, and to the kernel.
mod balancers;
/// Behind bastions users are where these say, signed; by plain `ssh -J`.
mod bastions;
/// Packets that are none of our business pass, whatever the agent thinks of their sources.
mod bystanders;
/// The client: new logins where the old one is of no use any more, at a terminal and without; plain ssh; the ssh-agent;
/// addresses of both families.
mod client;
/// The command line: its answers, its exit codes, reloading.
mod command_line;
/// Established sessions end: by lock, by command, by expiry, by a login from elsewhere.
mod cut;
/// The agent dies, hangs or is replaced; the kernel goes on, nobody is locked out who must not be.
mod dead_agent;
/// `doctor`: on a right node all is well, and each of its findings is brought about.
mod doctor;
/// What a session opens for others to reach, mosh's port, a forwarded listener, a server: its pin holds there too.
mod endpoints;
/// Terminals are told why their session ends, and none holds up a lock, a login or the agent's end.
mod farewell;
/// Gates: the node's own services answer where a session is, as long as it is used, and nowhere else.
mod gates;
/// Certificates of other programs, with a real sshd and a real agent.
mod interop;
/// The kernel program and the pure function agree on generated packets.
mod kernel_verdict;
/// The agent killed at every system call of a login: the login fails, or its session is known afterwards.
mod kill_points;
/// Who proves, unanswered and in one message, that they may log in is let in; and nobody else is, whatever they send.
mod knock;
/// The agent does its work with what its unit leaves it.
mod least_privilege;
/// What a lenient mode lets pass, of the node or of a role, and what enforcing catches up on.
mod lenient;
/// Who gets in from where, with which certificate; what the audit log says of it.
mod login;
/// What Prometheus reads of a node, and the alert rules and dashboard that go by it.
mod metrics;
/// `audit` and `off` deny and drop nothing; `enforce` can be tried and goes back by itself.
mod modes;
/// Programs of others on the same interface go on, and so does ours.
mod neighbours;
/// Where a login comes from, through real balancers; and that nobody else has a say in it.
mod observed;
/// A user's own environment file in the distribution's own PAM stack: nobody gets in by false facts.
mod pam_stack;
/// What an authority publishes holds at nodes that follow it, also while it is away; and nothing else does.
mod policy;
/// How far a word of the administrator's reaches: whom a lock names, for how long, and whom nothing keeps out.
mod reach;
/// What a reboot takes away and what it leaves: locks and the commanded mode stay in force, sessions are gone.
mod reboot;
/// A real mosh whose client moves: its session stands still, and goes on where the user is by right.
mod roaming;
/// When a session is over: with its last process where it has a control group of its own, else with its connection.
mod session_end;
/// `setup sshd`: what it takes over, what stops it, and that everything is put back when something fails.
mod setup_sshd;
/// Strangers who hammer sshd keep nobody else out.
mod strangers;
/// What a starting agent finds, keeps, copies, leaves alone.
mod takeover;
/// `top` on a terminal: what it shows, and that the terminal is as before, however it ends.
mod top;
/// Files that decide over logins count only if nobody but root can have written them.
mod trust;
/// Connections to a login port that have no session: there to stay, or older than the agent.
mod unmanaged;

/// A node that enforces, with an authority, an sshd and an agent: what most of the above begin with.
mod scene;

/// A node in plain collections, to judge the same packets by.
#[path = "../../agent-ebpf/tests/world/mod.rs"]
#[allow(missing_docs, dead_code, unreachable_pub, reason = "shared with agent-ebpf's own tests")]
mod world;
