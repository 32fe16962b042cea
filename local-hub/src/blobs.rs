//! The containers of imports and exports: in a folder of this machine, or over plain HTTP as Azure
//! Storage and Azurite serve them.

use hub_types::shown::ShownPath;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cli_support::new_file::{Existing, NewFile, Readers};
use reqwest::header::LOCATION;
use reqwest::{Client, StatusCode, Url};
use tempfile::NamedTempFile;

use crate::http_client;

/// The containers that jobs may use.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    /// The folder that contains the containers in the file system; without it there are none.
    folder: Option<PathBuf>,
    http: Client,
    /// The size in bytes of the largest blob that is read.
    largest: u64,
}

/// One container.
#[derive(Debug, Clone)]
pub(crate) enum Container {
    Folder(PathBuf),
    /// The URL of the container with the shared access signature in its query: a secret.
    Http(Url),
}

/// The reason why a container can't be used. The text never contains its URL.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlobError {
    #[error("{0}")]
    Address(String),
    #[error("`{blob}` can't be read or written: {source}")]
    File { blob: String, source: io::Error },
    #[error("the storage answers {status} for `{blob}`, a redirect to {host}, which is not followed")]
    Redirected { blob: String, status: StatusCode, host: String },
    #[error("`{blob}` has more than {largest} bytes, the most that an import reads")]
    TooLarge { blob: String, largest: u64 },
    #[error("`{blob}` is no regular file in its container")]
    NoFile { blob: String },
    #[error("the storage answers {status} for `{blob}`")]
    Status { blob: String, status: StatusCode },
    #[error("the storage can't be reached for `{blob}`: {source}")]
    Unreachable { blob: String, source: reqwest::Error },
}

impl Blobs {
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self {
            folder,
            http: http_client::build(http_client::builder().read_timeout(SILENCE)),
            largest: LARGEST_BLOB,
        }
    }

    /// Parses the URI of a container. A path must stay inside the allowed folder.
    pub(crate) fn container(&self, uri: &str) -> Result<Container, BlobError> {
        if uri.starts_with("http://") || uri.starts_with("https://") {
            let url =
                Url::parse(uri).map_err(|_| BlobError::Address("the container's URL is none".into()))?;
            return Ok(Container::Http(url));
        }
        let path = Path::new(uri.strip_prefix("file://").unwrap_or(uri));
        self.folder_at(path).map(Container::Folder)
    }

    /// Resolves the path of a container inside the allowed folder.
    fn folder_at(&self, path: &Path) -> Result<PathBuf, BlobError> {
        let Some(allowed) = &self.folder else {
            let text = "this hub has no folder for containers; start it with --blob-folder DIR";
            return Err(BlobError::Address(text.into()));
        };
        let wrong = |why: &str| BlobError::Address(format!("the container `{}` {why}", ShownPath(path)));
        // Links and `..` are resolved on both sides, so that neither leads out.
        let allowed = allowed.canonicalize().map_err(|error| wrong(&error.to_string()))?;
        let found = allowed.join(path).canonicalize().map_err(|error| wrong(&error.to_string()))?;
        if !found.starts_with(&allowed) {
            return Err(wrong("is not below the folder that --blob-folder names"));
        }
        if !found.is_dir() {
            return Err(wrong("is no folder"));
        }
        Ok(found)
    }

    /// Checks that blobs can be written to the container.
    pub(crate) async fn check_writable(&self, container: &Container) -> Result<(), BlobError> {
        match container {
            Container::Folder(folder) => NamedTempFile::new_in(folder)
                .map(drop)
                .map_err(|source| BlobError::File { blob: String::new(), source }),
            Container::Http(url) => {
                let probe = "iothub-access-test";
                self.put(url, probe, reqwest::Body::from("")).await?;
                let request = self.http.delete(blob_url(url, probe)?);
                self.send(probe, request).await.map(drop)
            }
        }
    }

    /// Downloads a blob into an unnamed file.
    pub(crate) async fn fetch(&self, container: &Container, blob: &str) -> Result<File, BlobError> {
        check_name(blob)?;
        let failed = |source| BlobError::File { blob: blob.to_owned(), source };
        match container {
            Container::Folder(folder) => {
                let file = File::open(existing_file(folder, blob)?).map_err(failed)?;
                match file.metadata().map_err(failed)?.len() {
                    length if length > self.largest => Err(self.too_large(blob)),
                    _ => Ok(file),
                }
            }
            Container::Http(url) => {
                let mut answer = self.send(blob, self.http.get(blob_url(url, blob)?)).await?;
                if answer.content_length().is_some_and(|length| length > self.largest) {
                    return Err(self.too_large(blob));
                }
                let (mut file, mut left) = (tempfile::tempfile().map_err(failed)?, self.largest);
                while let Some(chunk) = answer.chunk().await.map_err(|source| unreachable(blob, source))? {
                    let length = u64::try_from(chunk.len()).map_err(|_| self.too_large(blob))?;
                    left = left.checked_sub(length).ok_or_else(|| self.too_large(blob))?;
                    io::Write::write_all(&mut file, &chunk).map_err(failed)?;
                }
                io::Seek::rewind(&mut file).map_err(failed)?;
                Ok(file)
            }
        }
    }

    fn too_large(&self, blob: &str) -> BlobError {
        BlobError::TooLarge { blob: blob.to_owned(), largest: self.largest }
    }

    /// Uploads the content of a file as a blob, which replaces an older one.
    pub(crate) async fn store(
        &self,
        container: &Container,
        blob: &str,
        content: NamedTempFile,
    ) -> Result<(), BlobError> {
        check_name(blob)?;
        let failed = |source| BlobError::File { blob: blob.to_owned(), source };
        match container {
            Container::Folder(folder) => {
                let path = match folder.join(blob).symlink_metadata() {
                    Ok(_) => existing_file(folder, blob)?,
                    Err(_) => folder.join(blob),
                };
                let mut place = NewFile::create(&path, Existing::Replaced, Readers::Owner).map_err(failed)?;
                let mut source = content.reopen().map_err(failed)?;
                io::copy(&mut source, &mut place).map_err(failed)?;
                place.finish().map_err(failed)
            }
            Container::Http(url) => {
                let file = tokio::fs::File::from_std(content.reopen().map_err(failed)?);
                let length = file.metadata().await.map_err(failed)?.len();
                self.put_sized(url, blob, reqwest::Body::from(file), length).await
            }
        }
    }

    async fn put(&self, container: &Url, blob: &str, body: reqwest::Body) -> Result<(), BlobError> {
        self.put_sized(container, blob, body, 0).await
    }

    async fn put_sized(
        &self,
        container: &Url,
        blob: &str,
        body: reqwest::Body,
        length: u64,
    ) -> Result<(), BlobError> {
        let request = self
            .http
            .put(blob_url(container, blob)?)
            .header("x-ms-blob-type", "BlockBlob")
            .header("content-length", length)
            .body(body);
        self.send(blob, request).await.map(drop)
    }

    async fn send(
        &self,
        blob: &str,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, BlobError> {
        let answer = request.header("x-ms-version", STORAGE_VERSION).send().await;
        let answer = answer.map_err(|source| unreachable(blob, source))?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            status if status.is_redirection() => {
                let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
                let to = location.and_then(|to| answer.url().join(to).ok());
                let host = to.as_ref().and_then(Url::host_str).unwrap_or("nowhere").to_owned();
                Err(BlobError::Redirected { blob: blob.to_owned(), status, host })
            }
            status => Err(BlobError::Status { blob: blob.to_owned(), status }),
        }
    }
}

fn unreachable(blob: &str, source: reqwest::Error) -> BlobError {
    BlobError::Unreachable { blob: blob.to_owned(), source: source.without_url() }
}

/// The path of a blob that exists, with links resolved. Opening a pipe would wait for its other end, and
/// a link may lead out of the container.
fn existing_file(folder: &Path, blob: &str) -> Result<PathBuf, BlobError> {
    let path = folder.join(blob).canonicalize();
    let path = path.map_err(|source| BlobError::File { blob: blob.to_owned(), source })?;
    if !path.starts_with(folder) || !path.is_file() {
        return Err(BlobError::NoFile { blob: blob.to_owned() });
    }
    Ok(path)
}

/// The URL of a blob: the container's, with the blob's name before the query.
fn blob_url(container: &Url, blob: &str) -> Result<Url, BlobError> {
    let mut url = container.clone();
    let added = url.path_segments_mut().map(|mut segments| {
        segments.pop_if_empty().push(blob);
    });
    added.map_err(|()| BlobError::Address("the container's URL can't have blobs".into()))?;
    Ok(url)
}

/// Checks that a blob's name is one segment, so that it can't point outside of its container.
fn check_name(blob: &str) -> Result<(), BlobError> {
    let mut parts = Path::new(blob).components();
    let only = parts.next().is_some_and(|part| matches!(part, std::path::Component::Normal(_)));
    if only && parts.next().is_none() && !blob.contains(['/', '\\', '\0']) {
        return Ok(());
    }
    Err(BlobError::Address(format!("`{blob}` can't be the name of a blob")))
}

/// The time limit for connecting to a storage, so that no request waits without end.
/// The longest silence of a storage.
const SILENCE: Duration = Duration::from_secs(60);
/// The largest blob in bytes: a million devices, the most that a hub has, with twins of 4 KiB each.
const LARGEST_BLOB: u64 = 4 * 1024 * 1024 * 1024;
/// The version of the storage service's REST API; old enough for every emulator.
const STORAGE_VERSION: &str = "2020-10-02";

#[cfg(test)]
mod tests;
