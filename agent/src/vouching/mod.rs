//! A bastion's word for its users: the key by which it vouches, and how its statements come to nodes.

mod departed;
mod key;
mod on_way;
mod send;

pub(crate) use departed::{Departed, Ends};
pub(crate) use key::{load_or_make, public_line};
pub(crate) use on_way::{MOST_OF_ONE, OnWay};
pub(crate) use send::{SendError, send};
