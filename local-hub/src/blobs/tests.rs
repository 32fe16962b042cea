use super::*;

#[test]
fn no_path_leads_out_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("in")).unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let blobs = Blobs::new(Some(folder.path().join("in")));
    assert!(blobs.container(folder.path().join("in").to_str().unwrap()).is_ok());
    for outside in ["..", "/etc", "in/../..", "../file"] {
        assert!(blobs.container(outside).is_err(), "{outside}");
    }
    assert!(Blobs::new(None).container("/tmp").is_err());
    for name in ["", "..", "a/b", "/etc/passwd", "a\\b", "."] {
        assert!(check_name(name).is_err(), "{name}");
    }
}

#[tokio::test]
async fn a_blob_that_is_too_large_is_no_input() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("devices.txt"), "0123456789").unwrap();
    let (server, _stop) = answering("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789");
    let (chunked, _stop_chunked) = answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n",
    );
    for (largest, fits) in [(10, true), (9, false)] {
        let blobs = Blobs { largest, ..Blobs::new(Some(folder.path().to_owned())) };
        for uri in [folder.path().to_str().unwrap(), &server, &chunked] {
            let fetched = blobs.fetch(&blobs.container(uri).unwrap(), "devices.txt").await;
            match fetched {
                Ok(file) => assert!(fits && file.metadata().unwrap().len() == 10, "{uri}"),
                Err(BlobError::TooLarge { largest: 9, .. }) => assert!(!fits, "{uri}"),
                Err(error) => panic!("{uri}: {error}"),
            }
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn neither_a_pipe_nor_a_link_out_of_the_container_is_a_blob() {
    let folder = tempfile::tempdir().unwrap();
    let container = folder.path().join("container");
    std::fs::create_dir(&container).unwrap();
    std::fs::write(folder.path().join("secret"), "x").unwrap();
    std::os::unix::fs::symlink(folder.path().join("secret"), container.join("link")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(container.join("pipe")).status().unwrap();
    assert!(made.success());
    let blobs = Blobs::new(Some(container));
    let container = blobs.container(".").unwrap();
    for blob in ["link", "pipe"] {
        let refused = blobs.fetch(&container, blob).await;
        assert!(matches!(refused, Err(BlobError::NoFile { .. })), "{blob}");
        let refused = blobs.store(&container, blob, NamedTempFile::new().unwrap()).await;
        assert!(matches!(refused, Err(BlobError::NoFile { .. })), "{blob}");
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("secret")).unwrap(), "x");
}

/// A storage in a separate thread that sends the same response to every request, until the
/// listener is dropped.
fn answering(answer: &'static str) -> (String, std::net::TcpListener) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/container?sig=x", listener.local_addr().unwrap());
    let taking = listener.try_clone().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = taking.accept() {
            let mut head = [0; 4096];
            let _ = io::Read::read(&mut stream, &mut head);
            let _ = io::Write::write_all(&mut stream, answer.as_bytes());
        }
    });
    (uri, listener)
}

#[test]
fn a_blob_comes_before_the_signature() {
    let container = Url::parse("https://a.example/c?sig=x%2F").unwrap();
    assert_eq!(
        blob_url(&container, "devices.txt").unwrap().as_str(),
        "https://a.example/c/devices.txt?sig=x%2F"
    );
}
