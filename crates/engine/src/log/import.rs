//! Writing a log that was read elsewhere, at the same places.

use object_store::{ObjectStore as _, PutMode, PutPayload};

use super::{Entry, Error, Log, Seq, codec};

impl<T: Entry> Log<T> {
    /// Creates entries in a log that nobody uses yet, in ascending order. A hole behind the first
    /// one is announced before it is there.
    pub(crate) async fn import(&self, entries: &[(Seq, T)]) -> Result<(), Error> {
        let mut before: Option<Seq> = None;
        for (seq, entry) in entries {
            if before.is_some_and(|before| before.next() != *seq) {
                self.announce(*seq).await?;
            }
            let path = self.shared.keys.entry(*seq);
            let payload = PutPayload::from(codec::encode(&path, entry)?);
            let put = self
                .shared
                .store
                .put_opts(&path, payload, PutMode::Create.into());
            self.bounded(&path, put).await?;
            before = Some(*seq);
        }
        Ok(())
    }
}
