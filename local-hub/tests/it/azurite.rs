//! Imports and exports with containers behind HTTP, as Azurite, Microsoft's emulator of Azure Storage, serves them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use reqwest::{StatusCode, Url};
use serde_json::{Value, json};

use crate::jobs::ended;
use crate::support::TestHub;

/// Azurite with its containers, see `scripts/blob-storage/serve.js`. Ends when it is dropped.
struct Storage {
    process: Child,
    containers: Value,
    http: reqwest::Client,
}

impl Storage {
    fn start() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/blob-storage");
        assert!(folder.join("node_modules").exists(), "run scripts/install-test-needs first");
        let mut process = Command::new("node")
            .arg(folder.join("serve.js"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let containers = serde_json::from_str(&line).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the client of a test")]
        let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build().unwrap();
        Self { process, containers, http }
    }

    /// The URL of a container, which contains the granted permissions.
    fn container(&self, name: &str) -> &str {
        self.containers[name].as_str().unwrap()
    }

    fn blob(&self, container: &str, name: &str) -> Url {
        let mut url = Url::parse(self.container(container)).unwrap();
        url.path_segments_mut().unwrap().push(name);
        url
    }

    async fn read(&self, container: &str, blob: &str) -> (StatusCode, String) {
        let answer = self.http.get(self.blob(container, blob)).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    async fn write(&self, container: &str, blob: &str, text: String) {
        let request = self.http.put(self.blob(container, blob)).header("x-ms-blob-type", "BlockBlob");
        assert_eq!(request.body(text).send().await.unwrap().status(), StatusCode::CREATED);
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        // It ends with its standard input.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

async fn job(hub: &TestHub, body: &Value) -> Value {
    let begun = hub.client.post("/jobs/create", body).await;
    let id = begun.ok()["jobId"].as_str().unwrap().to_owned();
    assert!(!begun.text.contains("sig="), "{}", begun.text);
    ended(&hub.client, &format!("/jobs/{id}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_exported_to_a_container_and_imported_from_one() {
    let storage = tokio::task::block_in_place(Storage::start);
    let hub = TestHub::start().await;
    for bulk in 0..5 {
        let items = (0..100)
            .map(|n| json!({"id": format!("d{}", bulk * 100 + n), "tags": {"text": "ü".repeat(1000)}}));
        hub.client.post("/devices", &items.collect()).await.ok();
    }
    hub.client.put("/devices/d7/modules/m", None, &json!({"deviceId": "d7", "moduleId": "m"})).await.ok();
    let before = hub.client.get("/devices/d7").await.ok();

    let export = json!({"type": "export", "outputBlobContainerUri": storage.container("all")});
    let exported = job(&hub, &export).await;
    assert_eq!(
        (&exported["status"], &exported["progress"]),
        (&json!("completed"), &json!(100)),
        "{exported}"
    );
    let (status, mut lines) = storage.read("all", "devices.txt").await;
    assert_eq!((status, lines.lines().count()), (StatusCode::OK, 501));
    let left = storage.read("all", "iothub-access-test").await.0;
    assert_eq!(left, StatusCode::NOT_FOUND, "the blob that tried the container stayed");

    for n in 0..500 {
        hub.client.delete(&format!("/devices/d{n}"), Some("*")).await.with_status(204);
    }
    lines.push_str("no JSON\n");
    storage.write("other", "mine.txt", lines).await;
    let import = json!({"type": "import", "inputBlobContainerUri": storage.container("other"),
        "inputBlobName": "mine.txt", "outputBlobContainerUri": storage.container("all")});
    let imported = job(&hub, &import).await;
    assert_eq!(imported["status"], "completed", "{imported}");
    let again = hub.client.get("/devices/d7").await.ok();
    assert_eq!(again["authentication"], before["authentication"], "the same device came back");
    assert_eq!(hub.client.get("/twins/d499").await.ok()["tags"]["text"], "ü".repeat(1000));
    hub.client.get("/devices/d7/modules/m").await.ok();
    let (status, errors) = storage.read("all", "importErrors.log").await;
    assert_eq!((status, errors.lines().count()), (StatusCode::OK, 1), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_that_do_not_suffice_are_refused_at_once_and_never_shown() {
    let storage = tokio::task::block_in_place(Storage::start);
    let hub = TestHub::start().await;
    let all = storage.container("all");
    let broken = all.replace("sig=", "sig=A");
    for (body, reason) in [
        (json!({"type": "export", "outputBlobContainerUri": storage.container("readOnly")}), "403"),
        (json!({"type": "export", "outputBlobContainerUri": storage.container("expired")}), "403"),
        (json!({"type": "export", "outputBlobContainerUri": broken}), "403"),
        (json!({"type": "export", "outputBlobContainerUri": all.replace("/all?", "/none?")}), "40"),
        (json!({"type": "import", "outputBlobContainerUri": all, "inputBlobContainerUri": all}), "404"),
        (
            json!({"type": "import", "outputBlobContainerUri": storage.container("readOnly"), "inputBlobContainerUri": all}),
            "403",
        ),
    ] {
        let answer = hub.client.post("/jobs/create", &body).await;
        answer.refused(400, "BlobContainerValidationError");
        assert!(answer.text.contains(&format!("the storage answers {reason}")), "{}", answer.text);
        assert!(!answer.text.contains("sig="), "{}", answer.text);
    }
    assert_eq!(hub.client.get("/jobs").await.ok(), json!([]));
}
