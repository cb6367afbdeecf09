//! Sends notifications: signed anew for each attempt, repeated until accepted, held, lost or forged on command.

use std::{collections::BTreeMap, sync::Arc, sync::Mutex, time::Duration};

use bytes::Bytes;
use secrecy::SecretString;
use tokio::{sync::Semaphore, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    RetryPolicy,
    book::Refusal,
    control::{Attempt, Delivery, DeliveryState, NotifyOptions},
    locked,
};
use crate::{
    clock::Clock,
    gateway::webhook::{
        signature::{SIGNATURE_HEADER, sign_notification},
        wire::{Event, EventBody},
    },
};

/// So many notifications are on the wire at once.
const CONCURRENT_MAX: usize = 32;
/// So many deliveries are remembered; the oldest are forgotten first.
const DELIVERIES_MAX: usize = 100_000;
/// Copies of one notification.
const DUPLICATE_MAX: u32 = 20;
/// Longest delay on command, in milliseconds: ten minutes.
const DELAY_MS_MAX: u64 = 600_000;

/// A notification to send.
#[derive(Clone)]
struct Parcel {
    number: u64,
    url: String,
    /// What is sent.
    body: Bytes,
    /// What the signature covers: the same, unless tampered.
    signed: Bytes,
}

pub(super) struct Courier {
    http: reqwest::Client,
    secret: SecretString,
    clock: Clock,
    retry: RetryPolicy,
    tasks: TaskTracker,
    stop: CancellationToken,
    permits: Semaphore,
    log: Mutex<Log>,
    /// What is held back; `None` when nothing is.
    held: Mutex<Option<Vec<Parcel>>>,
}

#[derive(Default)]
struct Log {
    next: u64,
    deliveries: BTreeMap<u64, Delivery>,
}

impl Courier {
    pub(super) fn new(
        secret: SecretString,
        clock: Clock,
        retry: RetryPolicy,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(retry.answer_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Courier {
            http,
            secret,
            clock,
            retry,
            tasks,
            stop,
            permits: Semaphore::new(CONCURRENT_MAX),
            log: Mutex::default(),
            held: Mutex::default(),
        })
    }

    /// Takes an event to its receiver, as the options say.
    pub(super) fn send(self: &Arc<Self>, event: &EventBody, url: &str, options: &NotifyOptions) -> Result<(), Refusal> {
        if options.duplicate > DUPLICATE_MAX || options.delay_ms > DELAY_MS_MAX {
            let most = format!("at most {DUPLICATE_MAX} copies and {DELAY_MS_MAX} ms of delay");
            return Err(Refusal::Invalid(most));
        }
        let signed = encode(event)?;
        let body = if options.tamper {
            encode(&tampered(event))?
        } else {
            signed.clone()
        };
        for _ in 0..=options.duplicate {
            let state = if options.lose {
                DeliveryState::Lost
            } else {
                DeliveryState::Sending
            };
            let number = self.record(event, options.tamper, state);
            if options.lose {
                return Ok(());
            }
            let parcel = Parcel {
                number,
                url: url.to_owned(),
                body: body.clone(),
                signed: signed.clone(),
            };
            if options.delay_ms == 0 {
                self.hand_over(parcel);
                continue;
            }
            let courier = self.clone();
            let delay = Duration::from_millis(options.delay_ms);
            self.spawn(async move {
                sleep(delay).await;
                courier.hand_over(parcel);
            });
        }
        Ok(())
    }

    pub(super) fn deliveries(&self) -> Vec<Delivery> {
        locked(&self.log).deliveries.values().cloned().collect()
    }

    /// Keeps everything back from now on.
    pub(super) fn hold(&self) {
        locked(&self.held).get_or_insert_default();
    }

    /// Sends what was kept back, each when the one before has been answered; returns how many.
    pub(super) fn release(self: &Arc<Self>, reverse: bool) -> usize {
        let mut parcels = locked(&self.held).take().unwrap_or_default();
        if reverse {
            parcels.reverse();
        }
        let released = parcels.len();
        for parcel in &parcels {
            self.set_state(parcel.number, DeliveryState::Sending);
        }
        let courier = self.clone();
        self.spawn(async move {
            for parcel in parcels {
                if !courier.attempt(&parcel).await {
                    courier.clone().retry_later(parcel);
                }
            }
        });
        released
    }

    fn record(&self, event: &EventBody, tampered: bool, state: DeliveryState) -> u64 {
        let (event_type, subject) = match &event.event {
            Event::PaymentSucceeded { order_number, .. } => ("payment_succeeded", order_number),
            Event::RefundFinished { refund } => ("refund_finished", &refund.refund_number),
        };
        let mut log = locked(&self.log);
        log.next += 1;
        let number = log.next;
        let delivery = Delivery {
            number,
            event_id: event.event_id.clone(),
            event_type: event_type.to_owned(),
            subject: subject.clone(),
            tampered,
            state,
            attempts: Vec::new(),
        };
        log.deliveries.insert(number, delivery);
        if log.deliveries.len() > DELIVERIES_MAX {
            log.deliveries.pop_first();
        }
        number
    }

    fn set_state(&self, number: u64, state: DeliveryState) {
        if let Some(delivery) = locked(&self.log).deliveries.get_mut(&number) {
            delivery.state = state;
        }
    }

    /// Holds the parcel back, or sends it.
    fn hand_over(self: &Arc<Self>, parcel: Parcel) {
        let parcel = match locked(&self.held).as_mut() {
            Some(held) => {
                self.set_state(parcel.number, DeliveryState::Held);
                held.push(parcel);
                return;
            }
            None => parcel,
        };
        let courier = self.clone();
        self.spawn(async move {
            if !courier.attempt(&parcel).await {
                courier.clone().retry_later(parcel);
            }
        });
    }

    /// Repeats the parcel, after its failed first attempt, with growing pauses.
    fn retry_later(self: Arc<Self>, parcel: Parcel) {
        let courier = self.clone();
        self.spawn(async move {
            let mut pause = courier.retry.pause_first;
            for _ in 1..courier.retry.attempts_max {
                sleep(pause.min(courier.retry.pause_max)).await;
                if courier.attempt(&parcel).await {
                    return;
                }
                pause = pause.saturating_mul(2);
            }
            courier.set_state(parcel.number, DeliveryState::GivenUp);
        });
    }

    /// Sends once and writes down what came back; true when it was accepted.
    async fn attempt(&self, parcel: &Parcel) -> bool {
        let Ok(_permit) = self.permits.acquire().await else {
            return false;
        };
        let at = self.clock.now();
        let answer = self
            .http
            .post(&parcel.url)
            .header(SIGNATURE_HEADER, sign_notification(&self.secret, at, &parcel.signed))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(parcel.body.clone())
            .send()
            .await;
        let (code, error) = match answer {
            Ok(response) => (Some(response.status()), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let accepted = code.is_some_and(|code| code.is_success());
        if let Some(delivery) = locked(&self.log).deliveries.get_mut(&parcel.number) {
            delivery.attempts.push(Attempt {
                at,
                code: code.map(|code| code.as_u16()),
                error,
            });
            if accepted {
                delivery.state = DeliveryState::Accepted;
            }
        }
        accepted
    }

    /// Runs a task that ends when the simulator stops.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }
}

/// The same event with a 9 in front of its amount.
fn tampered(event: &EventBody) -> EventBody {
    let mut event = event.clone();
    let amount = match &mut event.event {
        Event::PaymentSucceeded { payment, .. } => &mut payment.amount,
        Event::RefundFinished { refund } => &mut refund.amount,
    };
    amount.value.insert(0, '9');
    event
}

fn encode(event: &EventBody) -> Result<Bytes, Refusal> {
    serde_json::to_vec(event)
        .map(Bytes::from)
        .map_err(|error| Refusal::Invalid(error.to_string()))
}
