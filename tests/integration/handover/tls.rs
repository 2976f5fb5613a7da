//! A network's own certificate authority, and a web server that it vouches for.

use std::net::TcpStream;
use std::path::PathBuf;

use crate::support::{Background, Lab};

/// Serves its directory, which holds a bare repository `repo.git`.
const SERVER: &str = "
import http.server, ssl
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('../cert', '../key')
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
with open('../port.new', 'w') as file:
    file.write(str(server.server_port))
import os
os.rename('../port.new', '../port')
server.serve_forever()
";

/// Certificates as strict programs want them, for both names that the server has.
const CERTIFICATES: &str = "exec 2>/dev/null
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj '/CN=Test' \\
    -addext keyUsage=critical,keyCertSign,cRLSign &&
openssl req -newkey rsa:2048 -nodes -keyout key -out request -subj '/CN=server' &&
printf 'subjectAltName=IP:127.0.0.1,IP:192.168.5.2\\nauthorityKeyIdentifier=keyid\\n' >extensions &&
openssl x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \\
    -extfile extensions -out cert &&
mkdir served && git init -q --bare served/repo.git && git -C served/repo.git update-server-info";

pub(crate) struct Tls {
    dir: PathBuf,
    port: u16,
    server: Background,
}

impl Tls {
    pub(crate) fn new(lab: &Lab) -> Self {
        let dir = lab.home().join("tls");
        fs_err::create_dir(&dir).unwrap();
        lab.host("sh", ["-c", CERTIFICATES]).in_dir(&dir).succeeds();
        let words = ["-c", SERVER];
        let server = lab.host("python3", words).in_dir(dir.join("served")).within_seconds(3600);
        let server = server.background();
        let file = dir.join("port");
        lab.wait_until("the server has a port", |_| file.exists());
        let port: u16 = fs_err::read_to_string(file).unwrap().parse().unwrap();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { dir, port, server }
    }

    /// The file with the authority's certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// The server as it is reached by this address.
    pub(crate) fn url(&self, address: &str) -> String {
        format!("https://{address}:{}/", self.port)
    }

    pub(crate) fn stop(self) {
        self.server.signal(rustix::process::Signal::KILL);
        self.server.finish();
        fs_err::remove_dir_all(self.dir).unwrap();
    }
}
