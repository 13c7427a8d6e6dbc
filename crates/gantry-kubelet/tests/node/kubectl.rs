//! Streams as kubectl 1.35 opens them, through the API server to the node.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::support::{IMAGE, Node, pod, status, with, within};
use gantry_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_and_files_are_copied() {
    Node::with(async |node| {
        node.run(pod("shell", "sleep 1000")).await;
        assert_eq!(node.kubectl_prints(&["exec", "shell", "--", "echo", "hello"]).await, "hello\n");
        let output = node.kubectl(&["exec", "shell", "--", "sh", "-c", "echo no >&2; exit 7"]).output();
        let output = within("a failing command", output).await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(7), "{errors}");
        assert_eq!(errors, "no\ncommand terminated with exit code 7\n");

        // Standard input ends where the client's does: what v5 of the protocol is for.
        let mut child = node
            .kubectl(&["exec", "-i", "shell", "--", "wc", "-c"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(&vec![b'x'; 1_000_000]).await.unwrap();
        drop(input);
        let output = within("counting", child.wait_with_output()).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "1000000\n");

        let file = node.dir.path().join("file");
        std::fs::write(&file, "copied").unwrap();
        let file = file.display().to_string();
        node.kubectl_prints(&["cp", &file, "shell:/tmp/file"]).await;
        assert_eq!(node.kubectl_prints(&["exec", "shell", "--", "cat", "/tmp/file"]).await, "copied");
        let back = format!("{file}.back");
        node.kubectl_prints(&["cp", "shell:/tmp/file", &back]).await;
        assert_eq!(std::fs::read_to_string(back).unwrap(), "copied");

        let never =
            json!({"spec": {"containers": [{"image": "gantry.local/none:1", "imagePullPolicy": "Never"}]}});
        node.create(with(pod("waits", "true"), never)).await;
        node.event("waits", "ErrImageNeverPull").await;
        let output = node.kubectl(&["exec", "waits", "--", "true"]).output().await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(errors, "error: unable to upgrade connection: container not found (\"main\")\n");

        let verbose = node.kubectl(&["exec", "-v8", "shell", "--", "true"]).output().await.unwrap();
        let verbose = String::from_utf8_lossy(&verbose.stderr).into_owned();
        assert!(verbose.contains("v5.channel.k8s.io"), "{verbose}");
        assert!(!verbose.contains("SPDY/3.1"), "fell back: {verbose}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_attaches_and_reads_logs() {
    Node::with(async |node| {
        let stdin = json!({"spec": {"containers": [{"stdin": true}]}});
        node.run(with(pod("echo", "while read line; do echo got $line; done"), stdin)).await;
        let mut child =
            node.kubectl(&["attach", "-i", "echo"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"one\n").await.unwrap();
        assert_eq!(within("an answer", lines.next_line()).await.unwrap().unwrap(), "got one");
        input.write_all(b"two\n").await.unwrap();
        assert_eq!(within("an answer", lines.next_line()).await.unwrap().unwrap(), "got two");
        child.kill().await.unwrap();
        assert_eq!(node.kubectl_prints(&["logs", "echo", "--tail=1"]).await, "got two\n");
        let output = node.kubectl(&["logs", "echo", "--previous"]).output().await.unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let message = "previous terminated container \"main\" in pod \"echo\" not found";
        assert_eq!(error, format!("Error from server (BadRequest): {message}\n"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_forwarded() {
    Node::with(async |node| {
        let script = "mkdir /site; echo served > /site/index.html; exec httpd -f -p 8080 -h /site";
        let probe = json!({"exec": {"command": ["wget", "-q", "-O-", "http://127.0.0.1:8080/index.html"]}, "periodSeconds": 1});
        node.run(with(pod("web", script), json!({"spec": {"containers": [{"readinessProbe": probe}]}}))).await;
        let mut child = node.kubectl(&["port-forward", "-v8", "pod/web", ":8080"]).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = within("the local port", lines.next_line()).await.unwrap().unwrap();
        let port: u16 =
            line.split([':', ' ']).find_map(|word| word.parse().ok()).unwrap_or_else(|| panic!("{line}"));
        for _ in 0..3 {
            let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").await.unwrap();
            let mut text = String::new();
            if let Err(error) = within("an answer", stream.read_to_string(&mut text)).await {
                child.kill().await.unwrap();
                let mut verbose = String::new();
                child.stderr.take().unwrap().read_to_string(&mut verbose).await.unwrap();
                panic!("{error}: {verbose}");
            }
            assert!(text.ends_with("served\n"), "{text}");
        }
        child.kill().await.unwrap();
        let mut verbose = String::new();
        child.stderr.take().unwrap().read_to_string(&mut verbose).await.unwrap();
        assert!(verbose.contains("SPDY/3.1+portforward.k8s.io"), "{verbose}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_pod_is_debugged() {
    Node::with(async |node| {
        node.run(pod("app", "sleep 1000")).await;
        let words = [
            "debug",
            "app",
            "--image",
            IMAGE,
            "-c",
            "debugger",
            "--target=main",
            "--profile=general",
            "--",
            "sh",
            "-c",
            "echo looking; ps",
        ];
        node.kubectl_prints(&words).await;
        let pod = node
            .wait("app", |pod| status(pod, "debugger").and_then(|s| s.state.clone()?.terminated).is_some())
            .await;
        assert_eq!(status(&pod, "main").unwrap().restart_count, 0);
        let log = node.log("app", "debugger").await;
        assert!(log.starts_with("looking\n") && log.contains("sleep 1000"), "{log}");
    })
    .await;
}
