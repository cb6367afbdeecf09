//! A bad network between a terminal and the service.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Everything passes.
    Fair,
    /// Connections end at once, those that there are, too.
    Down,
    /// What the terminal sends passes; nothing comes back.
    Silent,
    /// What the terminal sends passes, and whatever comes back ends the connection.
    Cutting,
}

/// The network. It ends when it is dropped.
pub struct Proxy {
    pub address: SocketAddr,
    weather: watch::Sender<Weather>,
    target: Arc<Mutex<String>>,
    /// Connections that the terminal began.
    connections: Arc<AtomicUsize>,
    listener: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub async fn to(target: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (weather, seen) = watch::channel(Weather::Fair);
        let target = Arc::new(Mutex::new(target.to_owned()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (targets, count) = (target.clone(), connections.clone());
        let listener = tokio::spawn(async move {
            loop {
                let Ok((terminal, _)) = listener.accept().await else {
                    return;
                };
                count.fetch_add(1, Ordering::SeqCst);
                let target = targets.lock().unwrap().clone();
                tokio::spawn(connection(terminal, target, seen.clone()));
            }
        });
        Proxy {
            address,
            weather,
            target,
            connections,
            listener,
        }
    }

    pub fn is(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// The service has another address now.
    pub fn target(&self, target: &str) {
        target.clone_into(&mut self.target.lock().unwrap());
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until the terminal has tried to reach the service.
    pub async fn reached(&self, times: usize) {
        let reached = async {
            while self.connections.load(Ordering::SeqCst) < times {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), reached)
            .await
            .unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn connection(mut terminal: TcpStream, target: String, mut weather: watch::Receiver<Weather>) {
    if *weather.borrow() == Weather::Down {
        return;
    }
    let Ok(mut service) = TcpStream::connect(target).await else {
        return;
    };
    let (mut up, mut down) = (vec![0_u8; 16 * 1024], vec![0_u8; 16 * 1024]);
    let mut swallowed = false;
    loop {
        let now = *weather.borrow_and_update();
        // What has lost something of a stream cannot go on with it.
        if now == Weather::Down || swallowed && now != Weather::Silent {
            return;
        }
        tokio::select! {
            changed = weather.changed() => if changed.is_err() { return },
            read = terminal.read(&mut up) => match read {
                Ok(count @ 1..) => if service.write_all(&up[..count]).await.is_err() { return },
                _ => return,
            },
            read = service.read(&mut down) => match read {
                Ok(_) if now == Weather::Silent => swallowed = true,
                Ok(count @ 1..) if now == Weather::Fair => if terminal.write_all(&down[..count]).await.is_err() { return },
                _ => return,
            },
        }
    }
}
