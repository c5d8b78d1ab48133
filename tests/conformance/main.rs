//! What `clsess send` must hold, whatever the body of the session: one suite for all drivers, run
//! with the real Claude Code.
//!
//! A case is a function that is given the [`Driver`](driver::Driver). Each case is a test of each
//! driver: `stream::exact::...`. What a driver cannot do is said in `driver.rs`, and a case that
//! needs it says that it is skipped. Drivers whose traffic is read are drivers of their own.
//!
//! To add a case: write it in the file of its subject, and name it in [`suite`] (one that is
//! forgotten there is an unused function, which `make check` refuses). A subject is a file, a
//! `mod` and a block of the list; a driver is a function of `driver.rs` and a line of [`suite`].

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;

mod driver;
mod moments;
mod turns;

mod answer;
mod background;
mod busy;
mod ending;
mod errors;
mod exact;
mod limits;
mod order;
mod output;
mod questions;
mod readers;
mod unattended;
mod vanishing;

/// Makes the cases tests of every driver.
macro_rules! suite {
    ($($cases:tt)*) => {
        cases_of!(stream { $($cases)* });
        cases_of!(tui { $($cases)* });
        cases_of!(oneshot { $($cases)* });
        cases_of!(stream_proxy { $($cases)* });
        cases_of!(stream_base_url { $($cases)* });
        cases_of!(tui_proxy { $($cases)* });
        cases_of!(tui_base_url { $($cases)* });
    };
}

/// Makes the cases tests of one driver.
macro_rules! cases_of {
    ($driver:ident { $($subject:ident { $($(#[$how:meta])* $case:ident,)* })* }) => {
        mod $driver {
            $(mod $subject {
                $(
                    #[test]
                    $(#[$how])*
                    fn $case() {
                        let driver = crate::driver::Driver::$driver();
                        if driver.is_tried() {
                            crate::$subject::$case(&driver);
                        }
                    }
                )*
            })*
        }
    };
}

suite! {
    answer {
        stdout_is_the_text_of_one_message_whatever_its_blocks,
        an_empty_answer_prints_nothing,
        the_answer_is_what_follows_the_last_tool_result,
        what_is_said_beside_a_tool_call_is_not_the_answer,
        a_continuation_after_max_tokens_belongs_to_the_answer,
        errors_that_pass_leave_no_trace_in_the_answer,
        a_text_that_starts_again_is_printed_once,
        an_answer_of_five_megabytes_comes_whole,
        a_refused_answer_goes_on_and_a_paused_one_ends,
        a_tool_that_fails_is_no_answer,
        all_troubles_in_one_turn_leave_no_trace_in_the_answer,
        stream_always_ends_an_answer_in_the_same_way,
        blocks_of_white_space_belong_to_the_answer,
    }
    background {
        a_turn_that_nobody_asked_for_is_no_part_of_an_asked_one,
        a_background_agents_report_is_no_part_of_an_answer,
        a_report_that_comes_during_the_asked_turn_waits_for_its_end,
        an_interrupted_turns_agent_leaves_nothing_in_the_next_answer,
        a_question_that_nobody_asked_for_is_denied_and_fails_nothing,
        a_background_agents_question_is_denied_and_told,
        a_background_agents_question_ends_the_turn_where_that_is_wanted,
    }
    busy {
        a_busy_session_refuses_where_that_is_wanted,
        an_interrupting_prompt_ends_the_turn_and_goes_first,
        a_prompt_is_put_into_the_turn_that_runs,
        a_prompt_that_comes_too_late_for_a_turn_runs_by_itself,
        prompts_for_one_turn_are_never_made_one,
        prompts_that_come_together_are_never_made_one,
        a_steered_prompt_is_taken_back_before_it_is_taken_up,
        an_interrupt_leaves_a_steered_prompt_its_own_turn,
        a_prompt_for_a_turn_that_asks_does_not_answer_it,
        a_deadline_counts_the_queue_and_the_turn,
    }
    ending {
        a_turn_that_timed_out_leaves_nothing_for_the_next_one,
        a_turn_that_timed_out_in_a_tool_takes_the_tool_with_it,
        a_signal_interrupts_the_turn_and_keeps_the_session,
        a_signal_takes_a_queued_turn_back,
        a_second_signal_leaves_at_once,
        an_agent_that_hangs_is_ended_and_its_conversation_goes_on,
        a_timeout_before_the_first_byte_and_between_two_attempts,
        a_signal_before_the_first_byte_and_between_two_attempts,
        a_signal_at_any_moment_leaves_nothing_for_the_next_turn,
        a_signal_in_a_tool_takes_the_tool_with_it,
        what_was_printed_of_an_interrupted_turn_does_not_come_again,
        a_turn_in_which_the_agent_dies_is_finished_by_the_next_one,
    }
    errors {
        errors_of_the_provider,
        an_answer_beyond_all_bounds_fails_its_turn_only,
        an_answer_that_is_never_finished_is_none,
    }
    exact {
        a_hundred_hard_prompts_in_a_row_arrive_as_they_were_sent,
    }
    limits {
        a_refused_turn_waits_and_runs_later,
        a_refused_turn_may_be_taken_back_and_outlives_its_client,
        a_turn_that_has_done_something_is_not_tried_again,
        a_deadline_ends_the_waiting,
    }
    order {
        twenty_clients_of_one_session_are_served_in_order_of_arrival,
        twenty_clients_that_come_together_get_each_its_own_answer,
        an_end_of_any_kind_lets_the_next_one_run,
        a_timeout_begins_with_the_turn_and_not_with_the_wait,
    }
    output {
        json_is_one_object_with_everything_about_the_turn,
        json_of_a_failed_turn_names_the_error_too,
        stream_json_is_an_event_a_line_and_the_result_last,
        stream_json_tells_retries,
        stream_json_tells_denials,
        stream_always_prints_all_texts_as_they_come,
        a_message_that_says_nothing_is_no_message,
        stream_always_prints_a_text_that_comes_again_only_once,
    }
    questions {
        a_question_of_each_kind_is_answered_from_another_shell,
        a_question_of_each_kind_can_be_denied,
        approved_for_always_is_not_asked_again,
        the_first_answer_wins_and_the_other_is_told,
        what_is_no_answer_leaves_the_question_open,
        several_open_questions_want_a_name,
        a_second_prompt_never_answers_a_question,
        a_question_stops_the_clock_of_its_turn,
        a_deadline_ends_a_turn_that_asks,
        an_interrupt_takes_the_question_back,
        a_question_that_nobody_looks_at_is_denied,
        a_background_agents_question_can_be_answered,
        questions_are_told_on_stderr_and_as_events,
    }
    readers {
        a_long_answer_streams_whole_past_a_slow_reader,
        a_signal_ends_a_command_whose_answer_nobody_takes,
        a_reader_that_goes_away_leaves_the_turn_running,
        a_client_that_stands_still_holds_nobody_up,
        a_reader_that_wants_ten_bytes_gets_them,
    }
    unattended {
        a_question_is_denied_by_default_and_told,
        a_question_ends_the_turn_where_that_is_wanted,
        several_questions_of_one_turn_are_all_denied,
    }
    vanishing {
        a_client_that_vanishes_leaves_its_turn_running,
        a_killed_clients_place_in_the_queue_is_taken_up_again,
        a_killed_clients_request_given_again_runs_once,
    }
}
