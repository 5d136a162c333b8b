//! Logins: what sshd asks before the key is proven, and what PAM asks after.

mod auth_info;
mod denials;
mod judge;
mod open;
mod principals;
mod queries;

pub(crate) use denials::Denials;
pub(crate) use judge::{is_proven, principals_file, subject};
pub(crate) use open::open;
pub(crate) use principals::principals;
pub(crate) use queries::Queries;
