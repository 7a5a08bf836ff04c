//! Finding the newest entry.
//!
//! Existence is monotone above the floor: if *n* exists and *n + 1* does not, *n* is the head. Below
//! the floor it is not, and truncation may run at any moment. Two facts make a conclusion safe:
//! entries are deleted in ascending order, so an entry that is still there *after* its successor
//! was found missing is the head; and nothing that followed a head is deleted within the grace
//! after it was the head, so what is above a freshly remembered head needs no second look.

use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore as _};

use super::key::{Keys, Name};
use super::{Entry, Error, Log, REQUEST_TIMEOUT, Seq};

/// The highest entry that a search found.
struct Top<T> {
    seq: Seq,
    /// `None` if it is the one that the search began at.
    entry: Option<T>,
    /// Whether it was read after its successor was found missing.
    last: bool,
}

impl<T: Entry> Log<T> {
    /// The newest entry, `None` if the log is empty.
    ///
    /// `known` is any position that the caller knows to have existed. One request when this process
    /// knows the head (clones of a log share that) and nothing has changed; a few when it has
    /// moved; a hint, and a listing if that does not help, when nothing is known.
    pub async fn head(&self, known: Option<Seq>) -> Result<Option<(Seq, T)>, Error> {
        let started = self.now();
        let found = match (self.remembered(), known) {
            (Some((seq, entry)), _) if known.is_none_or(|known| known <= seq) => {
                let top = self.climb(seq).await?;
                Some((top.seq, top.entry.unwrap_or(entry)))
            }
            (_, Some(known)) => self.head_from(known).await?,
            (_, None) => match self.hint().await? {
                Some(hint) => self.head_from(hint).await?,
                None => self.head_by_listing(None).await?,
            },
        };
        if let Some((seq, entry)) = &found {
            self.remember(*seq, entry, started);
        }
        Ok(found)
    }

    /// The head, starting at a position that may be below the floor by now.
    async fn head_from(&self, start: Seq) -> Result<Option<(Seq, T)>, Error> {
        let top = self.climb(start).await?;
        // The first entry is never deleted, so that it is still there proves nothing.
        if top.seq > Seq::FIRST {
            let entry = match top.entry {
                Some(entry) if top.last => Some(entry),
                _ => self.get(top.seq).await?,
            };
            if let Some(entry) = entry {
                return Ok(Some((top.seq, entry)));
            }
        }
        self.head_by_listing(Some(start)).await
    }

    /// Gallops upwards from `start`, doubling the step, and bisects where the entries end.
    async fn climb(&self, start: Seq) -> Result<Top<T>, Error> {
        let mut top = Top {
            seq: start,
            entry: None,
            last: false,
        };
        let mut step = 1;
        let mut missing = loop {
            let probe = Seq(start.0.saturating_add(step));
            match self.get(probe).await? {
                Some(entry) => {
                    top = Top {
                        seq: probe,
                        entry: Some(entry),
                        last: false,
                    }
                }
                None => break probe,
            }
            step *= 2;
        };
        while missing.0 - top.seq.0 > 1 {
            let middle = Seq(top.seq.0 + (missing.0 - top.seq.0) / 2);
            match self.get(middle).await? {
                Some(entry) => {
                    top = Top {
                        seq: middle,
                        entry: Some(entry),
                        last: true,
                    }
                }
                None => {
                    missing = middle;
                    top.last = false;
                }
            }
        }
        Ok(top)
    }

    /// The position that was the head some appends ago, if the hint is there and says so.
    async fn hint(&self) -> Result<Option<Seq>, Error> {
        let bytes = self.read(&self.shared.keys.hint()).await?;
        let text = bytes.as_deref().and_then(|b| std::str::from_utf8(b).ok());
        Ok(text.and_then(|text| text.parse().ok()).map(Seq))
    }

    async fn head_by_listing(&self, from: Option<Seq>) -> Result<Option<(Seq, T)>, Error> {
        let from = from.and_then(|seq| seq.0.checked_sub(1)).map(Seq);
        let newest = |objects: Vec<(Name, ObjectMeta)>| {
            let entry = |(name, _): &(Name, ObjectMeta)| match name {
                Name::Entry(seq) => Some(*seq),
                _ => None,
            };
            objects.iter().filter_map(entry).max()
        };
        let mut top = newest(self.list(from).await?);
        if top.is_none() && from.is_some() {
            // Whoever named the start was wrong.
            top = newest(self.list(None).await?);
        }
        let Some(seq) = top else {
            return Ok(None);
        };
        // The last entry is never deleted; if it is gone, it is not the last any more.
        match self.get(seq).await? {
            Some(entry) => Ok(Some((seq, entry))),
            None => Err(Error::Missing {
                path: self.shared.keys.entry(seq).to_string(),
            }),
        }
    }

    /// What lies under the prefix, after entry `after`.
    pub(super) async fn list(&self, after: Option<Seq>) -> Result<Vec<(Name, ObjectMeta)>, Error> {
        let keys = &self.shared.keys;
        let stream = match after {
            Some(seq) => {
                let offset = keys.entry(seq);
                self.shared
                    .store
                    .list_with_offset(Some(keys.prefix()), &offset)
            }
            None => self.shared.store.list(Some(keys.prefix())),
        };
        self.collect(stream).await
    }

    /// The highest floor: below it entries may be missing.
    pub(super) async fn floor(&self) -> Result<Option<Seq>, Error> {
        let keys = &self.shared.keys;
        let offset = keys.before_floors();
        let stream = self
            .shared
            .store
            .list_with_offset(Some(keys.prefix()), &offset);
        let floors = self.collect(stream).await?.into_iter();
        let floors = floors.filter_map(|(name, _)| match name {
            Name::Floor(seq) => Some(seq),
            _ => None,
        });
        Ok(floors.max())
    }

    async fn collect(
        &self,
        stream: futures::stream::BoxStream<'_, object_store::Result<ObjectMeta>>,
    ) -> Result<Vec<(Name, ObjectMeta)>, Error> {
        let path = || self.shared.keys.prefix().to_string();
        let mut stream = stream;
        let mut found = Vec::new();
        loop {
            // Each page is one request with its own bound.
            match self
                .shared
                .clock
                .timeout(REQUEST_TIMEOUT, stream.try_next())
                .await
            {
                Ok(Ok(Some(meta))) => found.push((Keys::parse(&meta.location), meta)),
                Ok(Ok(None)) => return Ok(found),
                Ok(Err(source)) => {
                    return Err(Error::Store {
                        path: path(),
                        source,
                    });
                }
                Err(_) => return Err(Error::TimedOut { path: path() }),
            }
        }
    }
}
