//! The two halves of a connection that has become a WebSocket: what comes in is read by its own
//! task, to the other half rooms write too.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// What HTTP and WebSocket are spoken over.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    fn halves(self) -> (Incoming, Outgoing);
}

/// What the client sends.
pub(crate) enum Incoming {
    Tcp(Arc<TcpStream>),
    Tls(ReadHalf<TlsStream<TcpStream>>),
}

/// What the client is sent.
pub(crate) enum Outgoing {
    /// Anybody may write to it who does not wait.
    Tcp(Arc<TcpStream>),
    /// A write may have to wait in the midst of a record, so only the socket's own task does it.
    Tls(WriteHalf<TlsStream<TcpStream>>),
    /// The socket is gone.
    Closed,
}

impl Wire for TcpStream {
    fn halves(self) -> (Incoming, Outgoing) {
        let stream = Arc::new(self);
        (Incoming::Tcp(stream.clone()), Outgoing::Tcp(stream))
    }
}

impl Wire for TlsStream<TcpStream> {
    fn halves(self) -> (Incoming, Outgoing) {
        let (incoming, outgoing) = tokio::io::split(self);
        (Incoming::Tls(incoming), Outgoing::Tls(outgoing))
    }
}

impl AsyncRead for Incoming {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = match self.get_mut() {
            Incoming::Tls(stream) => return Pin::new(stream).poll_read(cx, buffer),
            Incoming::Tcp(stream) => stream,
        };
        loop {
            ready!(stream.poll_read_ready(cx))?;
            match stream.try_read(buffer.initialize_unfilled()) {
                Ok(bytes) => {
                    buffer.advance(bytes);
                    return Poll::Ready(Ok(()));
                }
                // It is not ready after all: asked again, and waited for.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Outgoing {
    /// Writes as much as the system takes now.
    ///
    /// # Errors
    /// `WouldBlock` if that is nothing.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Outgoing::Tcp(stream) => stream.try_write(bytes),
            Outgoing::Tls(_) | Outgoing::Closed => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = match self {
            Outgoing::Tls(stream) => return Pin::new(stream).poll_write_vectored(cx, slices),
            Outgoing::Closed => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            Outgoing::Tcp(stream) => stream,
        };
        loop {
            ready!(stream.poll_write_ready(cx))?;
            match stream.try_write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    /// Has everything sent that was written.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Outgoing::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Outgoing::Tcp(_) | Outgoing::Closed => Poll::Ready(Ok(())),
        }
    }
}
