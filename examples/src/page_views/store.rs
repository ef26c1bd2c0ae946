//! The one connection to the database.

use std::path::PathBuf;

use innkeeper::{StartError, process};
use rusqlite::Connection;

/// The database of page views.
#[derive(Debug)]
pub struct Store {
    database: Connection,
}

#[process]
impl Store {
    async fn init(path: &PathBuf) -> Result<Self, StartError> {
        let open = || {
            let database = Connection::open(path)?;
            database.pragma_update(None, "journal_mode", "WAL")?;
            database.execute(
                "CREATE TABLE IF NOT EXISTS views (path TEXT PRIMARY KEY, count INTEGER NOT NULL)",
                [],
            )?;
            Ok::<_, rusqlite::Error>(database)
        };
        Ok(Store { database: tokio::task::block_in_place(open)? })
    }

    /// Adds views to a path.
    #[call]
    pub fn add(&mut self, path: String, count: u64) -> Result<(), String> {
        let count = i64::try_from(count).map_err(|error| error.to_string())?;
        // The disk holds up this thread, and no other process.
        let written = tokio::task::block_in_place(|| {
            self.database.execute(
                "INSERT INTO views (path, count) VALUES (?1, ?2)
                 ON CONFLICT (path) DO UPDATE SET count = count + excluded.count",
                (&path, count),
            )
        });
        written.map(drop).map_err(|error| error.to_string())
    }

    /// How often a path was viewed.
    #[call]
    pub fn count(&mut self, path: String) -> Result<u64, String> {
        let query = "SELECT coalesce(sum(count), 0) FROM views WHERE path = ?1";
        let count = self.database.query_row(query, [path], |row| row.get::<_, i64>(0));
        count.map(i64::cast_unsigned).map_err(|error| error.to_string())
    }
}
