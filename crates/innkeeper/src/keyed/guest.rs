//! What a process has that runs only while its node acts for its key, and what it takes along when
//! the key goes to another.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::placement::{Placed, Tenure, Turn};
use crate::process::Process;
use crate::seam::Mutex;

/// What the process of one key has where its scope is placed.
pub(crate) struct Guest<P: Process> {
    pub(super) placed: Placed,
    luggage: Mutex<Luggage<P>>,
}

struct Luggage<P: Process> {
    packing: bool,
    state: Option<Vec<u8>>,
    casts: VecDeque<P::Message>,
}

impl<P: Process> Guest<P> {
    pub(super) fn new(tenure: Arc<dyn Tenure>, turn: Turn) -> Self {
        let luggage = Luggage { packing: false, state: None, casts: VecDeque::new() };
        Guest { placed: Placed::new(tenure, turn), luggage: Mutex::new(luggage) }
    }

    /// From now on what is left is taken along.
    pub(super) fn pack(&self) {
        self.luggage.lock().packing = true;
    }

    pub(super) fn is_packing(&self) -> bool {
        self.luggage.lock().packing
    }

    pub(super) fn pack_state(&self, state: Vec<u8>) {
        self.luggage.lock().state = Some(state);
    }

    /// Answers what is not taken along. What comes later was sent before.
    pub(super) fn pack_casts(&self, mut casts: VecDeque<P::Message>) -> VecDeque<P::Message> {
        let mut luggage = self.luggage.lock();
        if !luggage.packing {
            return casts;
        }
        casts.append(&mut luggage.casts);
        luggage.casts = casts;
        VecDeque::new()
    }

    /// What was packed, once the process has ended.
    pub(super) fn unpack(&self) -> (Option<Vec<u8>>, VecDeque<P::Message>) {
        let mut luggage = self.luggage.lock();
        (luggage.state.take(), std::mem::take(&mut luggage.casts))
    }
}
