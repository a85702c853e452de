//! What the benches share: processes, loads, rounds, rows.

pub(crate) mod blocking;
pub(crate) mod child;
pub(crate) mod cpus;
pub(crate) mod exchange;
pub(crate) mod figures;
pub(crate) mod floor;
pub(crate) mod git;
pub(crate) mod load;
pub(crate) mod party;
pub(crate) mod rounds;
pub(crate) mod row;
