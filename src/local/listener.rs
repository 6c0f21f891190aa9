//! A loopback listener that hands each connection to a function and stops when dropped. Knows no protocol.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// Binds a free port of the loopback address.
pub async fn bind() -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port on 127.0.0.1")?;
    let address = listener.local_addr().context("the listener has no address")?;
    Ok((listener, address))
}

/// A running accept loop; dropping it closes the listener and every connection at once.
#[derive(Debug)]
pub struct Listening(AbortHandle);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Serves each connection of `listener` in a task of its own.
pub fn serve<C>(listener: TcpListener, connection: impl Fn(TcpStream) -> C + Send + 'static) -> Listening
where
    C: Future<Output = ()> + Send + 'static,
{
    let accepting = tokio::spawn(async move {
        // Owned by this task, so that aborting it ends the connections too.
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((socket, _)) => {
                    connections.spawn(connection(socket));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: without a pause this loop would spin.
                    tracing::warn!("failed to accept a connection: {error}");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        }
    });
    Listening(accepting.abort_handle())
}
