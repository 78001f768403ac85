// SPDX-License-Identifier: GPL-2.0

//! One guest from its start to its end.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::mpsc::{sync_channel, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::guest_log::GuestLog;
use super::outcome::Facts;
use super::qemu::{Engine, Guest, Machine};
use super::received::Received;
use crate::common::frame::{Frame, REQUEST_DUMP};

/// Frames that may wait for a slow reader of our output; then the command waits.
const QUEUE: usize = 32;

/// How often the loop looks around while the guest says nothing.
const TICK: Duration = Duration::from_millis(250);

/// How often a person is told that the guest still boots or is still checked.
const PROGRESS: Duration = Duration::from_secs(10);

/// How long the last line of the log may take after everything else.
const LOG_END_LIMIT: Duration = Duration::from_secs(60);

/// How long a guest may take to say what it hangs on, by itself and then by an NMI.
const DUMP_LIMIT: Duration = Duration::from_secs(15);
const NMI_LIMIT: Duration = Duration::from_secs(10);

/// What QEMU says when the host's KVM cannot run the guest; it stops the guest and waits.
const KVM_BROKEN: &str = "KVM internal error";

/// How long the parts of a run may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the start of QEMU to the start of the command.
    pub boot: Duration,
    /// The command.
    pub command: Duration,
    /// From the end of the command to the end of the checks.
    pub finish: Duration,
}

/// Something that happened to the guest.
enum Event {
    Frame(Frame),
    /// The port has closed: with an error when the guest did not keep to the protocol.
    PortClosed(Option<io::Error>),
    /// The last line of the log has come.
    LogEnded,
    /// QEMU has closed the guest's console: it is gone.
    ConsoleClosed,
}

/// The part of a run that the guest is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Boot,
    Command,
    Finish,
}

/// A guest that is being looked after.
pub struct Session {
    guest: Guest,
    engine: Engine,
    events: Receiver<Event>,
    log: Arc<Mutex<GuestLog>>,
    limits: Limits,
    phase: Phase,
    started: Instant,
    phase_began: Instant,
    next_progress: Duration,
    received: Received,
    facts: Facts,
    log_ended: bool,
    port_closed: bool,
    console_closed: bool,
    verbose: bool,
}

impl Session {
    /// Starts the machine. What it sends back goes into the directory `into`.
    pub fn start(
        machine: &Machine,
        log: GuestLog,
        limits: Limits,
        into: &Path,
        verbose: bool,
    ) -> Result<Session, String> {
        let guest = machine.start()?;
        let log = Arc::new(Mutex::new(log));
        let (sender, events) = sync_channel(QUEUE);
        let clone = |socket: &std::os::unix::net::UnixStream| {
            socket
                .try_clone()
                .map_err(|error| format!("cannot listen to the guest: {error}"))
        };
        let (console, port) = (clone(&guest.console)?, clone(&guest.port)?);
        let (for_console, log_of_console) = (sender.clone(), Arc::clone(&log));
        thread::spawn(move || read_console(console, &log_of_console, &for_console));
        thread::spawn(move || read_port(port, &sender));
        let now = Instant::now();
        Ok(Session {
            guest,
            engine: machine.engine,
            events,
            log,
            limits,
            phase: Phase::Boot,
            started: now,
            phase_began: now,
            next_progress: PROGRESS,
            received: Received::new(into),
            facts: Facts::default(),
            log_ended: false,
            port_closed: false,
            console_closed: false,
            verbose,
        })
    }

    /// Looks after the guest until it is gone; what is then known about it.
    pub fn finish(mut self) -> (Facts, Arc<Mutex<GuestLog>>) {
        while !self.over() {
            self.step();
            self.show_progress();
            if self.time_is_up() {
                self.give_up();
                break;
            }
            if self.engine == Engine::Kvm && self.kvm_broke() {
                break;
            }
        }
        if self.facts.done {
            self.wait_until(LOG_END_LIMIT, |session| {
                session.log_ended || session.console_closed
            });
        }
        self.tell(&format!(
            "the guest ran for {:.1} s",
            self.started.elapsed().as_secs_f64()
        ));
        let status = self.guest.end();
        // QEMU is gone, so the console closes: its last bytes are in the log then.
        self.wait_until(Duration::from_secs(2), |session| session.console_closed);
        if !self.facts.done && self.facts.exited.is_none() && !lock(&self.log).began() {
            let said = self.guest.qemu_messages();
            let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            self.facts.host_failed.get_or_insert(format!(
                "QEMU did not start the guest ({status}): {}",
                said.trim_end()
            ));
        }
        self.judge_log();
        // The kernel names each module that it begins to load.
        self.facts.failed_at_boot = self.phase == Phase::Boot
            && (self.facts.timed_out.is_some() || self.facts.died())
            && !lock(&self.log).mentions("swapksm");
        (self.facts, self.log)
    }

    /// Is there nothing to wait for any more, except the end of the log?
    fn over(&self) -> bool {
        self.facts.done
            || self.facts.host_failed.is_some()
            || (self.port_closed && self.console_closed)
    }

    fn step(&mut self) {
        match self.events.recv_timeout(TICK) {
            Ok(Event::Frame(frame)) => self.take(frame),
            Ok(Event::PortClosed(error)) => {
                self.port_closed = true;
                // A guest that dies in the middle of a frame has not broken the protocol.
                if let Some(error) =
                    error.filter(|error| error.kind() == io::ErrorKind::InvalidData)
                {
                    self.facts.host_failed = Some(error.to_string());
                }
            }
            Ok(Event::LogEnded) => self.log_ended = true,
            Ok(Event::ConsoleClosed) => self.console_closed = true,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                (self.port_closed, self.console_closed) = (true, true)
            }
        }
    }

    fn take(&mut self, frame: Frame) {
        let result = match frame {
            Frame::Started => {
                self.tell(&format!(
                    "up after {:.1} s",
                    self.started.elapsed().as_secs_f64()
                ));
                self.enter(Phase::Command);
                Ok(())
            }
            Frame::Stdout(data) => write_out(&data),
            Frame::Stderr(data) => {
                let _ = io::stderr().write_all(&data);
                Ok(())
            }
            Frame::Exited(code) => {
                self.tell(&format!(
                    "the command ended with {code} after {:.1} s",
                    self.phase_began.elapsed().as_secs_f64()
                ));
                self.facts.exited = Some(code);
                self.enter(Phase::Finish);
                Ok(())
            }
            Frame::FileStart(path) => self.received.start(&path),
            Frame::FileData(data) => self.received.data(&data),
            Frame::FileEnd => self.received.end(),
            Frame::FileFailed(text) => {
                self.facts.files_failed.push(text);
                Ok(())
            }
            Frame::SetupFailed(text) => {
                self.facts.setup_failed = Some(text);
                Ok(())
            }
            Frame::CheckFailed(text) => {
                self.facts.checks_failed.push(text);
                Ok(())
            }
            Frame::Note(text) => {
                eprintln!("vm: {text}");
                Ok(())
            }
            Frame::Dumped => Ok(()),
            Frame::Done => {
                self.facts.done = true;
                Ok(())
            }
        };
        if let Err(text) = result {
            self.facts.host_failed = Some(text);
        }
    }

    fn enter(&mut self, phase: Phase) {
        (self.phase, self.phase_began) = (phase, Instant::now());
        self.next_progress = PROGRESS;
    }

    fn limit(&self) -> (Duration, &'static str) {
        match self.phase {
            Phase::Boot => (self.limits.boot, "the guest did not come up"),
            Phase::Command => (self.limits.command, "the command did not end (--timeout)"),
            Phase::Finish => (
                self.limits.finish,
                "the checks after the command did not end",
            ),
        }
    }

    /// The command shows its progress itself; for the rest the runner does.
    fn show_progress(&mut self) {
        let what = match self.phase {
            Phase::Boot => "the guest is booting",
            Phase::Command => return,
            Phase::Finish => "the guest is being checked",
        };
        let elapsed = self.phase_began.elapsed();
        if elapsed >= self.next_progress {
            let limit = self.limit().0.as_secs();
            eprintln!("vm: {what}: {} s of at most {limit} s", elapsed.as_secs());
            self.next_progress = elapsed + PROGRESS;
        }
    }

    fn time_is_up(&self) -> bool {
        !self.over() && self.phase_began.elapsed() >= self.limit().0
    }

    /// The time is up: lets the guest say in its log what it hangs on.
    fn give_up(&mut self) {
        let (limit, what) = self.limit();
        self.facts.timed_out = Some(format!("{what} within {} s", limit.as_secs()));
        let asked =
            self.phase == Phase::Command && (&self.guest.port).write_all(&[REQUEST_DUMP]).is_ok();
        let answered = asked && self.wait_for_dump();
        if !answered && !self.over() {
            // Deaf: the NMI makes it panic, with a stack of the CPU that takes it. That panic is ours.
            lock(&self.log).expect("Kernel panic - not syncing: NMI");
            let _ = (&self.guest.monitor).write_all(b"nmi\n");
            self.wait_until(NMI_LIMIT, |session| session.console_closed);
        } else {
            self.wait_until(LOG_END_LIMIT, |session| {
                session.log_ended || session.console_closed
            });
        }
    }

    fn wait_for_dump(&mut self) -> bool {
        let until = Instant::now() + DUMP_LIMIT;
        while Instant::now() < until && !self.over() {
            match self.events.recv_timeout(TICK) {
                Ok(Event::Frame(Frame::Dumped)) => return true,
                Ok(Event::Frame(frame)) => self.take(frame),
                Ok(Event::ConsoleClosed) => self.console_closed = true,
                Ok(_) | Err(_) => {}
            }
        }
        false
    }

    fn wait_until(&mut self, limit: Duration, reached: impl Fn(&Session) -> bool) {
        let until = Instant::now() + limit;
        while !reached(self) && Instant::now() < until {
            self.step();
        }
    }

    fn kvm_broke(&mut self) -> bool {
        let said = self.guest.qemu_messages();
        let Some(line) = said.lines().find(|line| line.contains(KVM_BROKEN)) else {
            return false;
        };
        self.facts.host_failed = Some(format!("QEMU says: {line}; run with --accel tcg"));
        self.console_closed = true;
        true
    }

    fn judge_log(&mut self) {
        let mut log = lock(&self.log);
        log.close();
        self.facts.complaints = log.complaints().to_vec();
        for (is_there, part) in [(log.began(), "beginning"), (log.ended(), "end")] {
            if self.facts.done && !is_there {
                self.facts.checks_failed.push(format!(
                    "the {part} of the guest's log is lost, so a complaint may be missing"
                ));
            }
        }
    }

    fn tell(&self, text: &str) {
        if self.verbose {
            eprintln!("vm: {text}");
        }
    }
}

/// The log, also when a thread died holding it: what it holds is still true.
pub fn lock(log: &Mutex<GuestLog>) -> MutexGuard<'_, GuestLog> {
    log.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn read_console(mut console: impl Read, log: &Mutex<GuestLog>, events: &SyncSender<Event>) {
    let mut buffer = [0; 16 * 1024];
    let mut told = false;
    loop {
        match console.read(&mut buffer) {
            Ok(length @ 1..) => {
                let mut log = lock(log);
                log.feed(&buffer[..length]);
                let ended = log.ended();
                drop(log);
                if ended && !told {
                    told = true;
                    let _ = events.send(Event::LogEnded);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    let _ = events.send(Event::ConsoleClosed);
}

fn read_port(mut port: impl Read, events: &SyncSender<Event>) {
    let end = loop {
        match Frame::read(&mut port) {
            Ok(Some(frame)) => {
                if events.send(Event::Frame(frame)).is_err() {
                    return;
                }
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    let _ = events.send(Event::PortClosed(end));
}

/// The command's standard output. When nobody reads it any more there is nothing left to do.
fn write_out(data: &[u8]) -> Result<(), String> {
    const CODE_OF_SIGPIPE: i32 = 128 + libc::SIGPIPE;
    let mut out = io::stdout().lock();
    match out.write_all(data).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            std::process::exit(CODE_OF_SIGPIPE)
        }
        result => result.map_err(|error| format!("cannot write the command's output: {error}")),
    }
}
