//! Microsoft Graph: one POST that reprocesses, one GET that looks, lists of what failed, and the token they need.
//!
//! Turns HTTP into [`Reply`](crate::domain::reply::Reply) and [`Look`](crate::domain::reply::Look); knows no
//! rule about what to do next, and no HTTP or SDK type leaves this module.

mod answer;
mod assertion;
mod claims;
mod client;
pub mod cloud;
mod entra;
mod exchange;
mod http;
mod list;
mod path;
mod proof;
mod reach;
mod sight;
#[cfg(feature = "cli")]
mod signed_in;
mod token;

pub use claims::Claims;
pub use client::{GraphClient, LookAnswer};
pub use list::{FailedList, Next, Page, PageAnswer};
pub use path::reprocess_path;
pub use reach::Reach;
#[cfg(feature = "cli")]
pub use signed_in::SignedIn;
pub use token::{Token, TokenError};
