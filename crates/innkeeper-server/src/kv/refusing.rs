//! The key-value protocol on a node without a session: every line is answered, and nothing is done.

use std::io;

use innkeeper_api::Code;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::kv::connection::error_line;
use crate::kv::line::{self, Line};
use crate::limits;

/// Serves a connection until its client closes it, says too much, or this node may act.
pub(crate) async fn refuse(stream: TcpStream, closing: CancellationToken) {
    if let Err(error) = serve(stream, closing).await {
        tracing::debug!(%error, "key-value connection ended");
    }
}

async fn serve(stream: TcpStream, closing: CancellationToken) -> io::Result<()> {
    let (input, mut output) = stream.into_split();
    let (mut input, mut bytes) = (BufReader::new(input), Vec::new());
    let answer = error_line(Code::NotOwner);
    loop {
        let read = tokio::select! {
            biased;
            read = line::read(&mut input, &mut bytes, limits::KV_LINE_BYTES) => read?,
            () = closing.cancelled() => return output.shutdown().await,
        };
        if read != Line::Whole {
            return output.shutdown().await;
        }
        let written = timeout(limits::WRITE_TIMEOUT, output.write_all(answer.as_bytes())).await;
        written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    }
}
