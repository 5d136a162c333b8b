//! The suite: everything that is proven with a real sshd, a real client, real certificates and real packets.

/// The lab itself: a certificate login works, labs do not touch each other or the host, nothing is left behind.
mod lab_itself;
