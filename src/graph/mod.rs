//! Microsoft Graph: one POST that reprocesses, one GET that looks, and the token both need.
//!
//! Turns HTTP into [`Reply`](crate::domain::reply::Reply) and [`Look`](crate::domain::reply::Look); knows no
//! rule about what to do next, and no HTTP or SDK type leaves this module.

mod answer;
mod assertion;
mod client;
pub mod cloud;
mod entra;
mod exchange;
mod http;
mod path;
mod proof;
mod sight;
#[cfg(feature = "cli")]
mod signed_in;
mod token;

pub use client::{GraphClient, LookAnswer};
pub use path::reprocess_path;
#[cfg(feature = "cli")]
pub use signed_in::SignedIn;
pub use token::{Token, TokenError};
