//! A conversion that is interrupted and resumed from a checkpoint writes the same bytes as an uninterrupted one. Records
//! that were released do not change when the input grows.

mod random_inputs;
mod rollouts;

use mngr_codex_core::{ByteOffset, Checkpoint, Converter, End, Lines, Reread, program_text};
use proptest::prelude::*;
use rollouts::{Rollout, lines_of, recordings};

/// The size that the state of a checkpoint must not reach, in bytes.
const MAX_STATE_BYTES: usize = 64 << 10;

/// Reads the texts of programs from the complete input.
struct Input<'a>(&'a [u8]);

impl Reread for Input<'_> {
    fn program_text(&mut self, line: ByteOffset, text: &mut Vec<u8>) {
        let from = usize::try_from(line.0).expect("small");
        let line = lines_of(&self.0[from..])[0];
        text.extend(program_text(line.strip_suffix(b"\n").unwrap_or(line)).unwrap_or_default());
    }
}

/// A running conversion that can be interrupted and resumed after every line.
struct Run<'a> {
    input: &'a [u8],
    converter: Converter<Vec<u8>>,
    /// The offset of the next line for the converter.
    at: usize,
    /// The records that this converter and the ones before it have released.
    released: Vec<u8>,
}

impl<'a> Run<'a> {
    fn new(input: &'a [u8]) -> Self {
        Self { input, converter: Converter::new("agent", Vec::new()), at: 0, released: Vec::new() }
    }

    /// Converts the lines up to offset `end`. Calls `between` before each line and after the last.
    fn feed(&mut self, end: usize, mut between: impl FnMut(&mut Converter<Vec<u8>>)) {
        let mut lines = Lines::starting_at(&self.input[self.at..end], ByteOffset(self.at as u64), usize::MAX);
        between(&mut self.converter);
        while let Some(line) = lines.next_line().expect("no error") {
            self.converter.line(line, &mut Input(self.input)).expect("no error");
            between(&mut self.converter);
        }
        self.at = end;
    }

    /// Takes the released records and returns a checkpoint.
    fn interrupt(&mut self) -> Checkpoint {
        let checkpoint = self.converter.checkpoint();
        self.released.extend(self.converter.take_records().expect("no error"));
        assert!(checkpoint.state.len() < MAX_STATE_BYTES, "{} bytes", checkpoint.state.len());
        checkpoint
    }

    /// Continues from a checkpoint with a new converter.
    fn resume(&mut self, checkpoint: &Checkpoint) {
        self.converter = Converter::restore("agent", checkpoint, Vec::new()).expect("a state of this version");
        self.at = usize::try_from(checkpoint.resume_at.0).expect("small");
    }

    fn finish(mut self, end: End) -> Vec<u8> {
        self.feed(self.input.len(), |_| {});
        self.converter.finish(end).expect("no error");
        self.released.extend(self.converter.take_records().expect("no error"));
        self.released
    }
}

const ENDS: [End; 2] = [End::Partial, End::Complete];

/// Converts the input without interruption.
fn uninterrupted(input: &[u8], end: End) -> Vec<u8> {
    Run::new(input).finish(end)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns 0 and the offsets after each line.
fn boundaries(input: &[u8]) -> Vec<usize> {
    let ends = lines_of(input).into_iter().scan(0, |at, line| {
        *at += line.len();
        Some(*at)
    });
    [0].into_iter().chain(ends).collect()
}

/// Interrupts at every line. After each interruption, another converter converts the rest. In addition, one conversion
/// resumes with another converter at every line.
fn check_every_split(name: &str, input: &[u8]) {
    let expected = ENDS.map(|end| uninterrupted(input, end));
    let boundaries = boundaries(input);
    let mut run = Run::new(input);
    let mut chain = Run::new(input);
    let mut link = chain.interrupt();
    for (number, boundary) in boundaries.iter().enumerate() {
        run.feed(*boundary, |_| {});
        let checkpoint = run.interrupt();
        assert!(
            expected[0].starts_with(&run.released),
            "{name}: the records released at line {number} are not the first ones"
        );
        let mut other = Run::new(input);
        other.released.clone_from(&run.released);
        other.resume(&checkpoint);
        let end = number % ENDS.len();
        let released = other.finish(ENDS[end]);
        assert!(
            released == expected[end],
            "{name}: interrupted at line {number}\n{}\n{}",
            text(&released),
            text(&expected[end])
        );
        chain.resume(&link);
        // A checkpoint is also valid if none or only some of the lines after it have been converted again.
        let again = boundaries[..number].iter().filter(|boundary| **boundary > chain.at).count();
        if number % 2 == 0 {
            chain.feed(boundaries[number - again.div_ceil(2)], |converter| drop(converter.checkpoint()));
        }
        if number % 3 == 0 {
            let early = chain.interrupt();
            chain.resume(&early);
        }
        chain.feed(*boundary, |_| {});
        link = chain.interrupt();
        assert!(chain.released == run.released, "{name}: a converter for every line, at line {number}");
    }
    for (end, expected) in ENDS.into_iter().zip(&expected) {
        let mut last = Run::new(input);
        last.released.clone_from(&chain.released);
        last.resume(&link);
        assert!(last.finish(end) == *expected, "{name}: a converter for every line, {end:?}");
    }
}

/// Checks that the output for each part of the input, which may still grow, is a prefix of the next one's and of the complete
/// one's.
fn check_prefixes(name: &str, input: &[u8]) {
    let complete = uninterrupted(input, End::Complete);
    let mut shorter = Vec::new();
    for boundary in boundaries(input) {
        let longer = uninterrupted(&input[..boundary], End::Partial);
        assert!(longer.starts_with(&shorter), "{name}: at byte {boundary}");
        shorter = longer;
    }
    assert!(complete.starts_with(&shorter), "{name}: complete");
}

/// Runs `check` for all recordings, on two threads.
fn for_all_recordings(check: fn(&str, &[u8])) {
    let recordings = recordings();
    std::thread::scope(|scope| {
        for half in recordings.chunks(recordings.len().div_ceil(2)) {
            scope.spawn(move || half.iter().for_each(|(name, bytes)| check(name, bytes)));
        }
    });
}

#[test]
fn recordings_can_be_interrupted_at_every_line() {
    for_all_recordings(check_every_split);
}

#[test]
fn released_records_of_recordings_never_change() {
    for_all_recordings(check_prefixes);
}

/// A line of a built rollout. There are few calls, turns and texts, so that lines refer to each other.
#[derive(Clone, Debug)]
enum Step {
    Meta(u32, Option<u32>),
    Context(u32),
    Started(u32),
    Complete(u32),
    Failed(u32),
    Aborted(u32),
    User(usize),
    Assistant(usize),
    Reasoning(usize),
    Call(usize, usize),
    Program(usize, Vec<usize>),
    Wait(usize, usize),
    Output(usize, Option<usize>),
    Command(usize, u32, i64, usize),
    Tool(usize, u32, i64, usize),
    Search(Option<usize>),
    Usage(bool),
    Compacted,
    Unknown,
    Malformed(usize),
    Recorded(prop::sample::Index),
}

const CALLS: [&str; 5] = ["call_a", "call_b", "call_c", "call_d", "call_\u{e9}"];
const TOOLS: [&str; 4] = ["exec_command", "shell", "update_plan", "exec"];
const TOOL_EVENTS: [&str; 4] = ["call_a", "call_b", "exec-1", "other-1"];
const COMMANDS: [&str; 4] = ["ls", "echo \"hi\"", "cat a/very/long/name/of/a/file.txt", "cat a/very/long/name/of/a/f"];
const TEXTS: [&str; 4] = ["a", "", "<environment_context>x", "line\u{2028}end"];
const MALFORMED: [&[u8]; 6] =
    [b"", b"  ", b"not json", b"{\"type\":", b"{}", b"[{\"timestamp\":\"2026-11-22T07:12:04.790Z\"}]"];

fn step() -> impl Strategy<Value = Step> {
    let turn = || 2_u32..5;
    let call = || 0..CALLS.len();
    let text = || 0..TEXTS.len();
    prop_oneof![
        1 => (1_u32..4, prop::option::of(1_u32..4)).prop_map(|(thread, forked_from)| Step::Meta(thread, forked_from)),
        2 => turn().prop_map(Step::Context),
        2 => turn().prop_map(Step::Started),
        2 => turn().prop_map(Step::Complete),
        1 => turn().prop_map(Step::Failed),
        1 => turn().prop_map(Step::Aborted),
        2 => text().prop_map(Step::User),
        4 => text().prop_map(Step::Assistant),
        3 => text().prop_map(Step::Reasoning),
        6 => (call(), 0..TOOLS.len()).prop_map(|(call, tool)| Step::Call(call, tool)),
        6 => (call(), prop::collection::vec(0..COMMANDS.len(), 0..3)).prop_map(|(call, named)| Step::Program(call, named)),
        3 => (call(), 0_usize..3).prop_map(|(call, cell)| Step::Wait(call, cell)),
        8 => (call(), prop::option::weighted(0.3, 0_usize..3)).prop_map(|(call, cell)| Step::Output(call, cell)),
        8 => (0_usize..3, turn(), -100_i64..4000, 0..COMMANDS.len())
            .prop_map(|(item, turn, ago, command)| Step::Command(item, turn, ago, command)),
        6 => (0..TOOL_EVENTS.len(), turn(), -100_i64..4000, 0_usize..3)
            .prop_map(|(call, turn, ago, form)| Step::Tool(call, turn, ago, form)),
        1 => prop::option::of(call()).prop_map(Step::Search),
        6 => any::<bool>().prop_map(Step::Usage),
        1 => Just(Step::Compacted),
        1 => Just(Step::Unknown),
        2 => (0..MALFORMED.len()).prop_map(Step::Malformed),
        4 => any::<prop::sample::Index>().prop_map(Step::Recorded),
    ]
}

/// Returns steps, each with the milliseconds since the step before. Sometimes these are 0 or negative.
fn steps() -> impl Strategy<Value = Vec<(i64, Step)>> {
    let pause = prop_oneof![6 => 1_i64..1500, 3 => Just(0), 1 => -1500_i64..0];
    prop::collection::vec((pause, step()), 0..40)
}

/// Returns the recorded lines of moderate length.
fn pool() -> &'static [Vec<u8>] {
    static POOL: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
    POOL.get_or_init(|| {
        let recordings = recordings();
        let lines = recordings.iter().flat_map(|(_, bytes)| lines_of(bytes)).filter(|line| line.len() < 4000);
        let mut lines: Vec<Vec<u8>> = lines.map(|line| line[..line.len() - 1].to_vec()).collect();
        lines.sort();
        lines.dedup();
        lines
    })
}

fn rollout_of(steps: &[(i64, Step)]) -> Vec<u8> {
    let mut rollout = Rollout::default();
    for (pause, step) in steps {
        rollout.after(*pause);
        let output = |cell: &Option<usize>| match cell {
            Some(cell) => format!("Script running with cell ID {cell}\nOutput:\n"),
            None => "done".to_owned(),
        };
        match step {
            Step::Meta(thread, forked_from) => rollout.meta(*thread, *forked_from),
            Step::Context(turn) => rollout.context(*turn),
            Step::Started(turn) => rollout.started(*turn),
            Step::Complete(turn) => rollout.complete(*turn),
            Step::Failed(turn) => rollout.failed(*turn),
            Step::Aborted(turn) => rollout.aborted(*turn),
            Step::User(text) => rollout.user(TEXTS[*text]),
            Step::Assistant(text) => rollout.assistant(TEXTS[*text]),
            Step::Reasoning(text) => rollout.reasoning(TEXTS[*text]),
            Step::Call(call, tool) => rollout.call(CALLS[*call], TOOLS[*tool], "{\"cmd\": \"ls\"}"),
            Step::Program(call, named) => {
                let named: Vec<String> =
                    named.iter().map(|command| format!("run({:?});", COMMANDS[*command])).collect();
                rollout.program(CALLS[*call], &named.join("\n"))
            }
            Step::Wait(call, cell) => rollout.call(CALLS[*call], "wait", &format!("{{\"cell_id\":\"{cell}\"}}")),
            Step::Output(call, cell) => rollout.output(CALLS[*call], &output(cell)),
            Step::Command(item, turn, ago, command) => {
                rollout.command(&format!("exec-{item}"), *turn, *ago, COMMANDS[*command])
            }
            Step::Tool(call, turn, ago, form) => rollout.tool_event(TOOL_EVENTS[*call], *turn, *ago, *form),
            Step::Search(id) => rollout.search(id.map(|id| CALLS[id])),
            Step::Usage(is_new) => rollout.usage(*is_new),
            Step::Compacted => rollout.line("compacted", &serde_json::json!({"message": "so far"})),
            Step::Unknown => rollout.line("brand_new_line", &serde_json::json!({"a": 1})),
            Step::Malformed(line) => rollout.raw(MALFORMED[*line]),
            Step::Recorded(index) => rollout.raw(&pool()[index.index(pool().len())]),
        };
    }
    rollout.bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 3000, ..ProptestConfig::default() })]

    #[test]
    fn built_rollouts_can_be_interrupted_at_every_line(steps in steps()) {
        check_every_split("built", &rollout_of(&steps));
    }

    #[test]
    fn built_rollouts_can_be_interrupted_at_some_lines(
        steps in steps(),
        splits in prop::collection::vec((0_usize..6, any::<bool>()), 1..40),
    ) {
        let input = rollout_of(&steps);
        let boundaries = boundaries(&input);
        for end in ENDS {
            let mut run = Run::new(&input);
            let (mut line, mut takes_checkpoints) = (0, false);
            for (lines, takes_checkpoints_next) in splits.iter().cycle() {
                if line + 1 >= boundaries.len() {
                    break;
                }
                // Taking checkpoints without using them must not change anything.
                line = (line + lines).min(boundaries.len() - 1);
                run.feed(boundaries[line], |converter| if takes_checkpoints { drop(converter.checkpoint()) });
                let checkpoint = run.interrupt();
                run.resume(&checkpoint);
                takes_checkpoints = *takes_checkpoints_next;
                line += usize::from(*lines == 0);
            }
            let released = run.finish(end);
            let expected = uninterrupted(&input, end);
            prop_assert!(released == expected, "{end:?}\n{}\n{}", text(&released), text(&expected));
        }
    }

    #[test]
    fn released_records_of_built_rollouts_never_change(steps in steps()) {
        check_prefixes("built", &rollout_of(&steps));
    }
}

#[test]
fn random_inputs_can_be_interrupted_at_every_line() {
    for (name, bytes) in random_inputs::corpus() {
        check_every_split(&name, &bytes);
        check_prefixes(&name, &bytes);
    }
    random_inputs::fuzz(60, |random| {
        let input = random_inputs::input(random);
        if input.len() < 1 << 20 {
            check_every_split("random", &input);
            check_prefixes("random", &input);
        }
    });
}

#[test]
fn lines_without_an_envelope_do_not_affect_lines_with_one() {
    let bare = |number: u32| {
        format!(
            "{{\"type\":\"message\",\"role\":\"user\",\"content\":[{{\"type\":\"input_text\",\"text\":\"{number}\"}}]}}"
        )
    };
    let line = |number: u32| {
        let head =
            format!("{{\"timestamp\":\"2026-01-05T08:00:0{number}.000Z\",\"type\":\"response_item\",\"payload\":");
        format!("{head}{}}}", bare(number))
    };
    for order in [[0, 1, 1, 1], [1, 1, 0, 1], [0, 0, 1, 0], [1, 0, 2, 1]] {
        let lines = (0..).zip(order).map(|(number, kind)| match kind {
            0 => bare(number),
            1 => line(number),
            _ => format!("{}}}", bare(number)),
        });
        let input = lines.map(|line| line + "\n").collect::<String>().into_bytes();
        check_every_split("bare lines", &input);
        let users = text(&uninterrupted(&input, End::Complete)).matches("\"source\":\"user\"").count();
        assert_eq!(users, order.iter().filter(|kind| **kind == 1).count());
    }
}

#[test]
fn concatenated_rollouts_can_be_interrupted_at_every_line() {
    let recordings = recordings();
    let pick = |name: &str| {
        let (_, bytes) = recordings.iter().find(|(path, _)| path.ends_with(name)).expect("a recording");
        bytes.clone()
    };
    for names in [
        ["0.138.0/v2_spawn_fork.child1.jsonl", "0.169.0/tools.jsonl"],
        ["0.169.0/code_spawn.jsonl", "0.147.0/v2_spawn_fork.child1.jsonl"],
    ] {
        check_every_split(names[0], &names.map(pick).concat());
    }
}

/// Interrupts at these lines. After each interruption, another converter converts the rest.
fn check_splits(input: &[u8], lines: impl IntoIterator<Item = usize>) {
    let (expected, boundaries) = (uninterrupted(input, End::Complete), boundaries(input));
    let mut run = Run::new(input);
    for line in lines {
        run.feed(boundaries[line], |_| {});
        let checkpoint = run.interrupt();
        let mut other = Run::new(input);
        other.released.clone_from(&run.released);
        other.resume(&checkpoint);
        assert!(other.finish(End::Complete) == expected, "interrupted at line {line}");
    }
}

#[test]
fn a_conversion_can_be_interrupted_while_waiting_records_exceed_memory() {
    let mut rollout = Rollout::default();
    rollout.context(2).after(10).user("go").after(10);
    for number in 0..3 {
        rollout.call(&format!("call_{number}"), "exec", "{}").after(10);
    }
    for number in 0..3 {
        rollout.output(&format!("call_{number}"), &"long ".repeat(500_000)).after(10);
    }
    rollout.usage(true).after(10).assistant("done");
    check_splits(&rollout.bytes, [4, 6, 7, 8, 9]);
}

#[test]
fn a_conversion_can_be_interrupted_while_waiting_commands_exceed_their_limit() {
    let mut rollout = Rollout::default();
    rollout.after(10).program("call_a", "ls").after(10);
    for number in 0..70 {
        rollout.command(&format!("exec-{number}"), 2, 5, &"x".repeat(40_000));
    }
    rollout.output("call_a", "done");
    // A record contains the command twice, so the records exceed the limit for waiting commands.
    let text = text(&uninterrupted(&rollout.bytes, End::Complete));
    let unowned = text.matches("belongs to no call").count();
    assert!((1..70).contains(&unowned), "{unowned} commands without their call");
    check_splits(&rollout.bytes, [2, 50, 60, 71]);
}

#[test]
fn complete_input_holds_nothing_back() {
    let mut rollout = Rollout::default();
    rollout.context(2).after(10).user("go").after(10).call("call_a", "exec", "{}");
    let steps = |end| text(&uninterrupted(&rollout.bytes, end)).matches("\"type\":\"step\"").count();
    assert_eq!(ENDS.map(steps), [1, 2]);
}

/// Returns the values of `attribution` in a transcript, in order.
fn attributions(transcript: &[u8]) -> Vec<String> {
    let text = text(transcript);
    let values =
        text.split("\"attribution\":\"").skip(1).map(|rest| rest.split('"').next().unwrap_or_default().to_owned());
    values.collect()
}

#[test]
fn a_command_is_found_in_a_program_from_before_the_checkpoint() {
    let mut rollout = Rollout::default();
    rollout.meta(1, None).after(10).user("go").after(10);
    rollout.program("call_a", "run(\"make one\")").after(10).program("call_b", "run('make two')").after(10);
    rollout
        .output("call_a", "Script running with cell ID 1")
        .after(1)
        .output("call_b", "Script running with cell ID 2");
    rollout.after(100).command("exec-1", 9, 50, "make two").after(10).command("exec-2", 9, 50, "make one");
    rollout.after(10).command("exec-3", 9, 50, "make three");
    let transcript = uninterrupted(&rollout.bytes, End::Complete);
    assert_eq!(attributions(&transcript), ["named_in_program", "named_in_program", "latest_running_program"]);
    check_every_split("named", &rollout.bytes);
}

#[test]
fn the_text_of_a_program_is_read_again_from_every_form_of_its_line() {
    let stamp = "\"timestamp\":\"2026-11-22T07:00:00.000Z\"";
    let call = |payload: &str| format!("{{{stamp},\"type\":\"response_item\",\"payload\":{{{payload}}}}}").into_bytes();
    let shell = "\"type\":\"local_shell_call\",\"call_id\":\"call_a\"";
    let function = "\"type\":\"function_call\",\"name\":\"exec_command\",\"call_id\":\"call_a\"";
    let custom = "\"type\":\"custom_tool_call\",\"name\":\"exec\",\"call_id\":\"call_a\"";
    let forms = [
        call(&format!("{function},\"arguments\":\"make one\"")),
        call(&format!("{function},\"arguments\":{{\"cmd\": \"make one\"}}")),
        call(&format!("{function},\"arguments\":\"make\\u0020one\"")),
        call(&format!("{function},\"\\u0061rguments\":\"make one\"")),
        call(&format!("{function},\"arguments\":\"no\",\"arguments\":\"make one\"")),
        call(&format!("{function},\"input\":\"make one\"")),
        call(&format!("{custom},\"input\":\"make one\",\"arguments\":\"no\"")),
        call(&format!("{custom},\"arguments\":\"make one\"")),
        call(&format!("{shell},\"action\":{{\"type\":\"exec\",\"command\":[\"make one\"]}}")),
        call(&format!("{shell},\"command\":[\"make one\"]")),
        call(&format!("{shell},\"status\":\"make one\"")),
        [&call(&format!("{custom},\"input\":\""))[..], b""].concat(),
        String::from_utf8_lossy(&call(&format!("{custom},\"input\":\"make one\"")))
            .replace("payload", "p\\u0061yload")
            .into_bytes(),
        String::from_utf8_lossy(&call(&format!("{custom},\"input\":\"make one\"")))
            .replace("{\"type\":\"custom", "{ \"type\" : \"custom")
            .into_bytes(),
    ];
    for form in forms {
        for command in ["make one", "make \u{fffd}"] {
            for is_damaged in [false, true] {
                let mut line = form.clone();
                if is_damaged {
                    // Invalid UTF-8 replaces the word.
                    let Some(at) = line.windows(3).position(|window| window == b"one") else { continue };
                    line.splice(at..at + 3, [0xff]);
                }
                let mut rollout = Rollout::default();
                rollout.raw(&line).after(10).program("call_b", "other()").after(100);
                rollout.command("exec-1", 9, 50, command);
                check_every_split(&text(&line), &rollout.bytes);
            }
        }
    }
}

#[test]
fn a_long_line_that_is_not_json_is_skipped_completely() {
    let mut rollout = Rollout::default();
    rollout.meta(1, None).after(10).user("before").after(10);
    // The end of the line would be a valid line if the conversion resumed in the middle.
    let mut tail = Rollout::default();
    tail.user("inside");
    rollout.raw(&[&vec![b'x'; 3 << 20], &b"\n".repeat(0)[..], &tail.bytes[..tail.bytes.len() - 1]].concat());
    rollout.after(10).user("after");
    check_every_split("junk", &rollout.bytes);
}

#[test]
fn a_damaged_state_or_one_of_another_version_is_rejected() {
    let mut rollout = Rollout::default();
    rollout.meta(1, None).context(2).after(10).program("call_a", "ls").after(10).program("call_b", "ls").usage(true);
    let mut run = Run::new(&rollout.bytes);
    run.feed(rollout.bytes.len(), |_| {});
    let checkpoint = run.interrupt();
    let restored =
        |state: Vec<u8>| Converter::restore("agent", &Checkpoint { state, ..checkpoint.clone() }, Vec::new());
    assert!(restored(checkpoint.state.clone()).is_ok());
    for at in 0..checkpoint.state.len() {
        assert!(restored(checkpoint.state[..at].to_vec()).is_err());
        for bit in 0..8 {
            let mut state = checkpoint.state.clone();
            state[at] ^= 1 << bit;
            assert!(restored(state).is_err(), "bit {bit} of byte {at}");
        }
    }
    let error = restored(vec![9, 0, 0]).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("has version 9 or is damaged"), "{error}");
}

// ---- the size of the state ----

/// Converts an input and takes a checkpoint every `every` lines.
fn check_states(name: &str, input: &[u8], every: usize) {
    let mut run = Run::new(input);
    let mut lines = 0;
    let mut largest = 0;
    run.feed(input.len(), |converter| {
        lines += 1;
        if lines % every == 0 {
            largest = largest.max(converter.checkpoint().state.len());
        }
    });
    let checkpoint = run.converter.checkpoint();
    largest = largest.max(checkpoint.state.len());
    assert!(largest < MAX_STATE_BYTES, "{name}: {largest} bytes");
    let mut restored = Run::new(input);
    restored.released.extend(run.converter.take_records().expect("no error"));
    restored.resume(&checkpoint);
    assert!(restored.finish(End::Complete) == uninterrupted(input, End::Complete), "{name}");
}

#[test]
fn the_state_is_small_after_floods_of_calls() {
    for length in [1, 40, 64, 400, 8000] {
        let id = |number: usize| format!("call_{number}_{}", "i".repeat(length));
        for tool in ["exec", "update_plan", "wait"] {
            let mut rollout = Rollout::default();
            for number in 0..400 {
                let arguments = format!("{{\"cell_id\":\"{}\"}}", "c".repeat(length.min(60)));
                rollout.after(1).call(&id(number), tool, &arguments);
                if number % 3 == 0 {
                    rollout.output(&id(number), &format!("Script running with cell ID {number}{}", "c".repeat(length)));
                }
            }
            check_states(&format!("{tool}, {length}"), &rollout.bytes, 50);
        }
    }
}

#[test]
fn the_state_is_small_after_a_flood_at_one_timestamp() {
    let mut rollout = Rollout::default();
    for number in 0..5000 {
        rollout.user(&format!("number {number}"));
    }
    check_states("one timestamp", &rollout.bytes, 700);
}

#[test]
fn the_state_is_small_if_names_are_long() {
    let long = "n".repeat(100_000);
    let mut rollout = Rollout::default();
    for key in ["turn_id", "model", "effort"] {
        let mut payload = serde_json::json!({"turn_id": rollouts::uuid(2), "model": "gpt"});
        payload[key] = serde_json::json!(long);
        rollout.after(10).line("turn_context", &payload).call("call_a", "exec", "{}").output("call_a", "");
    }
    for key in ["id", "forked_from_id", "cli_version"] {
        let mut payload = serde_json::json!({"id": rollouts::uuid(1)});
        payload[key] = serde_json::json!(long);
        rollout.after(10).line("session_meta", &payload).user("go");
    }
    for kind in ["task_started", "task_complete", "turn_aborted"] {
        rollout.after(10).line("event_msg", &serde_json::json!({"type": kind, "turn_id": long})).user("go");
    }
    rollout.call(&long, &long, "{}").output(&long, "").call("call_a", &long, "{}").command("exec-1", 2, 10, "ls");
    check_states("long names", &rollout.bytes, 1);
}

#[test]
fn the_state_is_small_if_all_its_lists_are_full() {
    let mut rollout = Rollout::default();
    let long = |letter: &str| letter.repeat(512);
    rollout.line("session_meta", &serde_json::json!({"id": long("i"), "forked_from_id": long("f")}));
    let context = serde_json::json!({"turn_id": "t".repeat(36), "model": long("m"), "effort": "e".repeat(510)});
    rollout.line("turn_context", &context);
    for number in 0..40 {
        let (call, cell) = (format!("{number:064}"), format!("{:064}", number + 1_000_000));
        rollout.after(1).program(&call, "text").output(&call, &format!("Script running with cell ID {cell}"));
        rollout.after(1).call(&call, "wait", &format!("{{\"cell_id\":\"{cell}\"}}"));
    }
    for number in 0..200 {
        // With longer ids of calls, not all programs would be remembered.
        rollout.after(1).program(&format!("call_{number:043}"), &"text".repeat(3000));
    }
    for number in 0..128 {
        rollout.after(1).call(&format!("open_{number:046}"), "update_plan", "{}");
    }
    for number in 0..100 {
        rollout.after(1).tool_event(&format!("exec-{number}"), 2, 0, 0);
    }
    rollout.line("event_msg", &serde_json::json!({"type": "task_started", "turn_id": long("l")}));
    rollout.after(1);
    for number in 0..2100 {
        rollout.user(&format!("number {number}"));
    }
    // All offsets are large, as in a large file.
    let mut lines = Lines::starting_at(&rollout.bytes[..], ByteOffset(1 << 40), usize::MAX);
    let mut converter = Converter::new("agent", Vec::new());
    let mut largest = 0;
    while let Some(line) = lines.next_line().expect("no error") {
        converter.line(line, &mut Input(&[])).expect("no error");
        largest = largest.max(converter.checkpoint().state.len());
    }
    assert!((60_000..MAX_STATE_BYTES).contains(&largest), "{largest} bytes");
}
