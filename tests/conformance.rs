//! One suite for every runtime: each case is written once and runs for every server, every
//! client, or every pairing of the two.
//!
//! A test's name says which: `blocking_client__tokio_server::a_flush_is_visible_before_the_end`.
//!
//! ```text
//!  the cases           exchanges, endings, streaming, elsewhere,     server × client
//!                      descriptors
//!                      requests                                      server × bare bytes
//!                      answers, deadlines, connecting                bare bytes × client
//!  the seam            seam (what a client and a server are), app (what is served)
//!  the adapters        adapters: blocking, tokio, smol, event_loop, raw
//!  the reference       wire: the protocol in a few lines; raw_end: what moves its bytes
//! ```
//!
//! No test waits by sleeping for what can be signalled, and time decides nothing, except that
//! nothing may take for ever.
#![cfg(any(unix, windows))]
#![cfg(any(feature = "blocking", feature = "smol", feature = "tokio"))]
#![allow(non_snake_case, reason = "a pairing's name joins two names")]

#[path = "conformance/adapters/mod.rs"]
mod adapters;
#[path = "conformance/answers.rs"]
mod answers;
#[path = "conformance/app.rs"]
mod app;
#[path = "conformance/bounds.rs"]
mod bounds;
#[path = "conformance/connecting.rs"]
mod connecting;
#[path = "conformance/deadlines.rs"]
mod deadlines;
// Descriptors are counted in /proc.
#[cfg(target_os = "linux")]
#[path = "conformance/descriptors.rs"]
mod descriptors;
#[path = "conformance/elsewhere.rs"]
mod elsewhere;
#[path = "conformance/endings.rs"]
mod endings;
#[path = "conformance/exchanges.rs"]
mod exchanges;
mod raw_end;
#[path = "conformance/requests.rs"]
mod requests;
#[path = "conformance/seam.rs"]
mod seam;
#[path = "conformance/streaming.rs"]
mod streaming;
#[path = "conformance/wire.rs"]
mod wire;

#[allow(unused_imports, reason = "each feature uses its own")]
use adapters::*;

/// Expands each `topic { case }` to a test of `topic::case::<…>`, for a server and a client, or for
/// one of them.
macro_rules! tests {
    (<$server:ty, $client:ty> $($topic:ident { $($case:ident)* })*) => {
        $($(
            #[test]
            fn $case() {
                crate::bounds::bounded(crate::$topic::$case::<$server, $client>);
            }
        )*)*
    };
    (<$one:ty> $($topic:ident { $($case:ident)* })*) => {
        $($(
            #[test]
            fn $case() {
                crate::bounds::bounded(crate::$topic::$case::<$one>);
            }
        )*)*
    };
}

/// The same, each in a process of its own; `$module` is where the tests are.
#[cfg(target_os = "linux")]
macro_rules! isolated_tests {
    ($module:ident <$server:ty, $client:ty> $($topic:ident { $($case:ident)* })*) => {
        $($(
            #[test]
            fn $case() {
                let name = concat!(stringify!($module), "::", stringify!($case));
                crate::bounds::isolated(name, crate::$topic::$case::<$server, $client>);
            }
        )*)*
    };
}

/// The same for tests that start themselves again in other processes, and so need their names.
macro_rules! tests_by_name {
    ($module:ident <$server:ty, $client:ty> $($topic:ident { $($case:ident)* })*) => {
        $($(
            #[test]
            fn $case() {
                let name = concat!(stringify!($module), "::", stringify!($case));
                crate::bounds::bounded(move || crate::$topic::$case::<$server, $client>(name));
            }
        )*)*
    };
    ($module:ident <$one:ty> $($topic:ident { $($case:ident)* })*) => {
        $($(
            #[test]
            fn $case() {
                let name = concat!(stringify!($module), "::", stringify!($case));
                crate::bounds::bounded(move || crate::$topic::$case::<$one>(name));
            }
        )*)*
    };
}

/// What every server can do, an event loop too.
macro_rules! exchanges {
    ($server:ty, $client:ty) => {
        tests! { <$server, $client>
            exchanges {
                a_dropped_reply_is_no_answer
                a_request_of_many_small_writes
                a_request_that_is_sent_whole_and_read_in_pieces
                a_slow_writer_and_a_slow_reader_disturb_nobody
                an_abandoned_request_reaches_no_handler
                an_answer_that_is_dropped_disturbs_nobody
                an_empty_answer_is_an_answer
                answers_as_recorded
                dropped_connections_are_probes
                one_client_in_many_threads
                quit_is_answered_and_ends_the_server
                sixty_four_clients
                sizes_around_every_packet_boundary
                ten_megabytes_each_way
            }
        }
    };
}

/// An event loop's server and a client.
#[cfg(unix)]
macro_rules! event_loop_pairing {
    ($name:ident, $server:ty, $client:ty) => {
        mod $name {
            use super::*;

            exchanges!($server, $client);
        }
    };
}

/// A runtime's server and a client.
macro_rules! pairing {
    ($name:ident, $server:ty, $client:ty) => {
        mod $name {
            use super::*;

            exchanges!($server, $client);

            tests! { <$server, $client>
                endings {
                    a_dropped_reply_is_noticed_at_once
                    a_dropped_server_stops
                    a_failing_handler_leaves_others_alone
                    a_flush_is_visible_before_the_end
                    a_request_over_the_limit_is_refused
                    a_stopper_works_from_anywhere
                    an_abort_waits_for_nobody
                    a_reply_kept_elsewhere_is_no_answer
                    an_answer_given_up_is_an_error
                    bound_is_not_yet_serving
                    never_more_exchanges_at_once_than_allowed
                    quit_lets_others_end
                    requests_beyond_the_exchanges_wait_and_are_served
                    stop_lets_a_request_end_and_a_silent_client_go
                    stop_serves_the_backlog
                    stop_while_busy
                    the_drain_deadline_aborts_what_is_queued
                    the_drain_deadline_aborts_what_is_stuck
                    the_handler_notices_that_its_client_left
                }
            }

            /// Of handlers that read the request as it arrives.
            mod streaming {
                use super::*;

                tests! { <$server, $client>
                    streaming {
                        a_flush_is_visible_before_the_end
                        a_pause_inside_the_request_has_a_limit
                        an_abandoned_request_is_an_error
                        an_answer_before_the_request_is_read
                        an_unread_request
                        back_pressure_reaches_the_writer
                        both_directions_in_turn
                        eight_megabytes_echoed_in_constant_memory
                        silent_clients_reach_no_handler
                        stop_while_streaming
                        what_is_no_message_is_an_error
                        whole_requests_too
                    }
                }
            }

            tests_by_name! { $name <$server, $client>
                elsewhere {
                    a_server_that_is_killed
                }
            }

            #[cfg(target_os = "linux")]
            isolated_tests! { $name <$server, $client>
                descriptors {
                    exchanges_that_go_wrong
                    servers_that_come_and_go
                }
            }
        }
    };
}

/// What every server makes of bare bytes, an event loop too.
macro_rules! requests {
    ($server:ty) => {
        tests! { <$server>
            requests {
                a_long_request_that_was_there_before
                a_malformed_request_is_not_waited_for
                malformed_requests
                more_recorded_requests
                recorded_traffic
                requests_cut_short
                silent_clients_do_not_keep_a_server
                silent_clients_lock_nobody_out
                what_is_let_pass
            }
        }

        // A pipe has no half close.
        #[cfg(unix)]
        tests! { <$server>
            requests {
                a_client_that_sends_no_more_gets_its_answer
            }
        }
    };
}

/// An event loop, under bare bytes. It is `polling`'s, which has no pipes.
#[cfg(unix)]
mod event_loop_server {
    use super::*;

    requests!(event_loop::Server);
}

/// A runtime's server, under bare bytes.
macro_rules! server {
    ($name:ident, $server:ty) => {
        mod $name {
            use super::*;

            requests!($server);

            tests! { <$server>
                requests {
                    a_pause_inside_a_request_has_a_limit
                    a_pause_of_the_servers_is_not_the_clients
                    an_idle_server_ends_if_wanted
                    an_unused_server_ends_if_wanted
                    half_requests_do_not_keep_a_server
                    sending_has_a_limit
                    silence_has_a_limit_if_wanted
                    silent_clients_go_when_there_are_too_many
                    so_do_those_who_have_begun
                    the_next_server_starts_while_one_drains
                    the_path_is_kept_and_its_loss_noticed
                    what_is_no_socket_is_left_alone
                }
            }

            // The server of a dead pipe has taken it along.
            #[cfg(unix)]
            tests! { <$server>
                requests {
                    a_dead_socket_is_replaced
                }
            }

            // Elsewhere nothing sets the limit of one process.
            #[cfg(target_os = "linux")]
            tests_by_name! { $name <$server>
                requests {
                    a_suspended_server_lets_nobody_go
                    half_requests_go_when_descriptors_run_short
                    silent_clients_go_when_descriptors_run_short
                }
            }
        }
    };
}

/// A runtime's client, under bare bytes.
macro_rules! client {
    ($name:ident, $client:ty) => {
        mod $name {
            use super::*;

            tests! { <$client>
                answers {
                    an_answer_before_the_request
                    answers_cut_short
                    answers_over_the_limit
                    hung_up_before_the_request_is_read
                    long_answers_cut_short
                    malformed_answers
                    recorded_traffic
                    recorded_traffic_read_in_pieces
                    requests_as_recorded
                }
                connecting {
                    a_connection_that_is_dropped_is_a_probe
                    nobody_comes
                    nobody_is_there
                    the_server_comes_late
                }
                deadlines {
                    on_an_answer_that_keeps_coming
                    on_an_answer_to_a_request_that_is_being_written
                    on_receiving
                    on_sending
                    on_the_whole
                    on_waiting
                    on_what_could_go_on_at_once
                }
            }

            // A pipe has no half close, is no file, and goes with its server.
            #[cfg(unix)]
            tests! { <$client>
                answers {
                    a_request_given_up_while_its_answer_is_read
                }
                connecting {
                    nobody_listens_any_more
                    something_else_is_there
                }
            }

            // Elsewhere nothing is on its way that the system has not taken.
            #[cfg(windows)]
            tests! { <$client>
                deadlines {
                    on_what_is_on_its_way
                }
            }

            // Elsewhere a full backlog is refused, as is one that nobody listens to.
            #[cfg(any(target_os = "linux", windows))]
            tests! { <$client>
                connecting {
                    room_appears
                    the_server_is_busy
                }
            }
        }
    };
}

/// Every client with this server.
macro_rules! with_every_client {
    ($pairing:ident, $server:ty: $raw:ident $blocking:ident $smol:ident $tokio:ident) => {
        $pairing!($raw, $server, raw::Client);
        #[cfg(feature = "blocking")]
        $pairing!($blocking, $server, blocking::Client);
        #[cfg(feature = "smol")]
        $pairing!($smol, $server, smol::Client);
        #[cfg(feature = "tokio")]
        $pairing!($tokio, $server, tokio::Client);
    };
}

#[cfg(unix)]
with_every_client! { event_loop_pairing, event_loop::Server:
    raw_client__event_loop
    blocking_client__event_loop
    smol_client__event_loop
    tokio_client__event_loop
}
#[cfg(feature = "blocking")]
with_every_client! { pairing, blocking::Server:
    raw_client__blocking_server
    blocking_client__blocking_server
    smol_client__blocking_server
    tokio_client__blocking_server
}
#[cfg(feature = "smol")]
with_every_client! { pairing, smol::Server:
    raw_client__smol_server
    blocking_client__smol_server
    smol_client__smol_server
    tokio_client__smol_server
}
#[cfg(feature = "tokio")]
with_every_client! { pairing, tokio::Server<tokio::CurrentThread>:
    raw_client__tokio_current_thread_server
    blocking_client__tokio_current_thread_server
    smol_client__tokio_current_thread_server
    tokio_client__tokio_current_thread_server
}
#[cfg(feature = "tokio")]
with_every_client! { pairing, tokio::Server<tokio::MultiThread>:
    raw_client__tokio_multi_thread_server
    blocking_client__tokio_multi_thread_server
    smol_client__tokio_multi_thread_server
    tokio_client__tokio_multi_thread_server
}

#[cfg(feature = "blocking")]
client!(blocking_client, blocking::Client);
#[cfg(feature = "blocking")]
server!(blocking_server, blocking::Server);
#[cfg(feature = "smol")]
client!(smol_client, smol::Client);
#[cfg(feature = "smol")]
server!(smol_server, smol::Server);
#[cfg(feature = "tokio")]
client!(tokio_client, tokio::Client);
#[cfg(feature = "tokio")]
server!(tokio_current_thread_server, tokio::Server<tokio::CurrentThread>);
#[cfg(feature = "tokio")]
server!(tokio_multi_thread_server, tokio::Server<tokio::MultiThread>);
