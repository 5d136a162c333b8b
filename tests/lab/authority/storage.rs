//! What authorities keep people in: what a test names, or else what all of them are run on.

use std::env;

use anyhow::{Context, Result, bail};

use super::Authority;
use crate::lab::Lab;
use crate::place::Place;
use crate::postgres::Postgres;

/// With the value `postgres`, that is where tests that name no storage have it.
const CHOICE: &str = "COTTER_LAB_STORAGE";
const FILE: &str = "/var/lib/cotter-authority/authority.db";

/// What authorities keep people in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// A file.
    Sqlite,
    /// A server; see [`Postgres`].
    Postgres,
}

impl Storage {
    /// What tests are run on that name none.
    pub fn chosen() -> Result<Self> {
        match env::var_os(CHOICE) {
            None => Ok(Self::Sqlite),
            Some(choice) if choice == "sqlite" => Ok(Self::Sqlite),
            Some(choice) if choice == "postgres" => Ok(Self::Postgres),
            Some(choice) => bail!("{CHOICE}={}: there is no such storage", choice.display()),
        }
    }

    /// Starts what it takes.
    pub(super) fn start(self, lab: &Lab) -> Result<Option<Postgres>> {
        (self == Self::Postgres).then(|| Postgres::start(lab)).transpose()
    }

    /// The line that an authority is told.
    pub(super) fn line(self) -> String {
        match self {
            Self::Sqlite => String::new(),
            Self::Postgres => format!("storage = \"{}\"\n", Postgres::url()),
        }
    }

    /// Copies all that authorities keep there to a file that is not there yet, as their manual says.
    pub fn back_up(self, node: &Place, file: &str) -> Result<()> {
        match self {
            Self::Sqlite => node.run(super::AUTHORITY, &["backup", file]),
            Self::Postgres => Postgres::run(node, "pg_dump", &["--format=custom", "--file", file]),
        }
        .map(drop)
    }

    /// Puts such a copy in the place of what is there; no authority may run.
    pub fn restore(self, node: &Place, file: &str) -> Result<()> {
        match self {
            Self::Sqlite => node.run("sh", &["-ec", &format!("rm {FILE}*; install -m 600 {file} {FILE}")]),
            Self::Postgres => Postgres::run(
                node,
                "pg_restore",
                &["--clean", "--if-exists", "--single-transaction", "--dbname=postgres", file],
            ),
        }
        .map(drop)
    }
}

impl Authority {
    /// What it keeps people in.
    pub fn storage(&self) -> Storage {
        self.storage
    }

    /// The server that was started for it, if it was.
    pub fn postgres(&mut self) -> Result<&mut Postgres> {
        self.postgres.as_mut().context("the authority has no PostgreSQL of its own")
    }
}
