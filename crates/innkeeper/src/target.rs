//! What can be talked to: one incarnation, or a key.

use crate::call::{Call, Cast};
use crate::error::{CallError, CastError};
use crate::keyed::{Key, Via, ViaCall, ViaCast};
use crate::process::{Message, Process};
use crate::process_ref::ProcessRef;

/// Something that takes messages `M`: a [`ProcessRef`] or a [`Via`].
///
/// The typed methods that `#[process]` makes are methods of every target.
pub trait Target<M: Message> {
    /// A call under way.
    type Call<'a, T: 'static>: Future<Output = Result<T, CallError<M>>> + Send
    where
        Self: 'a;

    /// A cast under way.
    type Cast<'a>: Future<Output = Result<(), CastError<M>>> + Send
    where
        Self: 'a;

    /// Says something and waits for the reply, of which `read` makes what the caller wants.
    fn call_with<T: 'static>(&self, message: M, read: fn(M::Reply) -> T) -> Self::Call<'_, T>;

    /// Says something and goes on.
    fn cast_with(&self, message: M) -> Self::Cast<'_>;
}

impl<M: Message> Target<M> for ProcessRef<M> {
    type Call<'a, T: 'static> = Call<'a, M, T>;
    type Cast<'a> = Cast<'a, M>;

    fn call_with<T: 'static>(&self, message: M, read: fn(M::Reply) -> T) -> Call<'_, M, T> {
        Call::new(self, message, read)
    }

    fn cast_with(&self, message: M) -> Cast<'_, M> {
        self.cast(message)
    }
}

impl<K: Key, P: Process> Target<P::Message> for Via<K, P> {
    type Call<'a, T: 'static> = ViaCall<'a, P::Message, T>;
    type Cast<'a> = ViaCast<'a, P::Message>;

    fn call_with<T: 'static>(
        &self,
        message: P::Message,
        read: fn(<P::Message as Message>::Reply) -> T,
    ) -> ViaCall<'_, P::Message, T> {
        self.say(message, read)
    }

    fn cast_with(&self, message: P::Message) -> ViaCast<'_, P::Message> {
        self.cast(message)
    }
}
