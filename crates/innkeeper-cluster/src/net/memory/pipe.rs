//! One direction of a connection within one process: bounded, as late as it is told to be, silent
//! or cut at any time.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::clock;

/// How many bytes may be under way, as in the buffers of a real one.
const BYTES_MAX: usize = 256 << 10;

/// What both ends and the network share.
pub(super) struct Pipe(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    delay: Duration,
    /// What is under way, and when it arrives.
    chunks: VecDeque<(tokio::time::Instant, Vec<u8>)>,
    /// How much of the first was read.
    read: usize,
    bytes: usize,
    writes: usize,
    is_silent: bool,
    /// Bytes were lost, so nothing that comes after them arrives.
    is_torn: bool,
    is_cut: bool,
    /// Nothing more is written.
    is_shut: bool,
    /// Nobody reads any more.
    is_deaf: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// The end that bytes come out of.
pub(super) struct Reader {
    pipe: Arc<Pipe>,
    until: Option<Pin<Box<Sleep>>>,
}

/// The end that they are put in.
pub(super) struct Writer(Arc<Pipe>);

impl Pipe {
    pub(super) fn lay(delay: Duration) -> (Arc<Pipe>, Reader, Writer) {
        let pipe = Arc::new(Pipe(Mutex::new(Inner { delay, ..Inner::default() })));
        (pipe.clone(), Reader { pipe: pipe.clone(), until: None }, Writer(pipe))
    }

    pub(super) fn delay(&self, by: Duration) {
        self.0.lock().delay = by;
    }

    pub(super) fn silence(&self, is_silent: bool) {
        self.0.lock().is_silent = is_silent;
    }

    pub(super) fn cut(&self) {
        let mut inner = self.0.lock();
        inner.is_cut = true;
        inner.wake();
    }

    pub(super) fn is_cut(&self) -> bool {
        let inner = self.0.lock();
        inner.is_cut || (inner.is_shut && inner.is_deaf)
    }

    pub(super) fn writes(&self) -> usize {
        self.0.lock().writes
    }
}

impl Inner {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if let Some(until) = &mut self.until {
                ready!(until.as_mut().poll(cx));
                self.until = None;
            }
            let pipe = self.pipe.clone();
            let mut inner = pipe.0.lock();
            if inner.is_cut {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let Some((at, _)) = inner.chunks.front() else {
                if inner.is_shut && !inner.is_torn {
                    return Poll::Ready(Ok(()));
                }
                inner.reader = Some(cx.waker().clone());
                return Poll::Pending;
            };
            if clock::until(*at) > Duration::ZERO {
                self.until = Some(Box::pin(tokio::time::sleep_until(*at)));
                // A cut wakes as well.
                inner.reader = Some(cx.waker().clone());
                continue;
            }
            let read = inner.read;
            let Some((_, chunk)) = inner.chunks.front() else { continue };
            let whole = chunk.len();
            let count = buf.remaining().min(whole - read);
            buf.put_slice(&chunk[read..read + count]);
            inner.read += count;
            inner.bytes -= count;
            if inner.read == whole {
                inner.chunks.pop_front();
                inner.read = 0;
            }
            if let Some(writer) = inner.writer.take() {
                writer.wake();
            }
            return Poll::Ready(Ok(()));
        }
    }
}

impl AsyncWrite for Writer {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.0.0.lock();
        if inner.is_cut || inner.is_deaf {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(BYTES_MAX - inner.bytes);
        if count == 0 {
            inner.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        inner.writes += 1;
        inner.is_torn |= inner.is_silent;
        if !inner.is_torn {
            let at = clock::after(inner.delay);
            // What was sent before arrives before, however long it takes now.
            let at = inner.chunks.back().map_or(at, |(before, _)| at.max(*before));
            inner.chunks.push_back((at, bytes[..count].to_vec()));
            inner.bytes += count;
        }
        if let Some(reader) = inner.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.0.lock();
        inner.is_shut = true;
        inner.wake();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut inner = self.pipe.0.lock();
        inner.is_deaf = true;
        inner.wake();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut inner = self.0.0.lock();
        // A partition hides this as well.
        inner.is_torn |= inner.is_silent;
        inner.is_shut = true;
        inner.wake();
    }
}
