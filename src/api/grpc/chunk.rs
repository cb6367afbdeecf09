//! Files as streams of chunks.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use tonic::Status;

use crate::proto::FileChunk;

/// How many bytes a chunk has at most: far below what a message may have.
const CHUNK_BYTES: usize = 64 * 1024;

/// A file on its way.
pub type ChunkStream = Pin<Box<dyn Stream<Item = Result<FileChunk, Status>> + Send>>;

/// Cuts bytes that are there.
pub fn chunks(bytes: Vec<u8>) -> ChunkStream {
    let parts: Vec<FileChunk> = bytes
        .chunks(CHUNK_BYTES)
        .map(|part| FileChunk { content: part.to_vec() })
        .collect();
    futures::stream::iter(parts.into_iter().map(Ok)).boxed()
}
