use proptest::prelude::*;

use super::*;

/// A direct implementation of the rules, which remembers everything.
#[derive(Clone, Debug, Default)]
struct Reference {
    programs: Vec<ReferenceProgram>,
    /// Pairs of a cell and the call whose program continues in it.
    cells: Vec<(u8, u8)>,
    /// Pairs of a waiting call and the cell that it waits for.
    waits: Vec<(u8, u8)>,
}

#[derive(Clone, Debug)]
struct ReferenceProgram {
    call: u8,
    started: Option<i64>,
    finished: Option<i64>,
    turn: u8,
    text: String,
    is_settled: bool,
}

impl Reference {
    fn program(&mut self, call: u8) -> Option<&mut ReferenceProgram> {
        self.programs.iter_mut().find(|program| program.call == call)
    }

    fn add_call(&mut self, call: u8, started: Option<i64>, turn: u8, text: &str) {
        let mut program =
            ReferenceProgram { call, started, finished: None, turn, text: text.to_owned(), is_settled: false };
        if let Some(known) = self.program(call) {
            program.is_settled = known.is_settled;
            *known = program;
        } else {
            self.programs.push(program);
        }
    }

    fn add_wait(&mut self, call: u8, cell: u8) {
        self.waits.retain(|(known, _)| *known != call);
        self.waits.push((call, cell));
    }

    fn add_output(&mut self, call: u8, at: Option<i64>, cell: Option<u8>) {
        if let Some(program) = self.program(call) {
            program.is_settled = true;
            match cell {
                Some(cell) => {
                    self.cells.retain(|(known, _)| *known != cell);
                    self.cells.push((cell, call));
                }
                None => program.finished = at,
            }
        }
        if cell.is_none()
            && let Some((_, cell)) = self.waits.iter().find(|(known, _)| *known == call)
            && let Some(position) = self.cells.iter().position(|(known, _)| known == cell)
        {
            let (_, owner) = self.cells.remove(position);
            if let Some(program) = self.program(owner) {
                program.finished = at;
            }
        }
    }

    fn owner(&self, started: i64, command: &str, turn: u8) -> Option<(u8, Rule, bool)> {
        let began = |program: &&ReferenceProgram| program.started.is_some_and(|time| time <= started);
        let runs = |program: &&ReferenceProgram| began(program) && program.finished.is_none_or(|time| started <= time);
        let in_turn = |program: &&&ReferenceProgram| turn != 0 && program.turn == turn;
        let found = |program: &ReferenceProgram, rule| Some((program.call, rule, program.is_settled));
        let running: Vec<&ReferenceProgram> = self.programs.iter().filter(runs).collect();
        if let [only] = running[..] {
            return found(only, Rule::RunningProgram);
        }
        if running.is_empty() {
            let before: Vec<&ReferenceProgram> = self.programs.iter().filter(began).collect();
            return match before.iter().rfind(in_turn) {
                Some(program) => found(program, Rule::NearestPrecedingCallInTurn),
                None => found(before.last()?, Rule::NearestPrecedingCall),
            };
        }
        let escaped = json_escaped(command);
        let names = |program: &ReferenceProgram| {
            !command.is_empty() && (program.text.contains(command) || program.text.contains(&escaped))
        };
        let mentioning: Vec<&ReferenceProgram> = running.iter().copied().filter(|program| names(program)).collect();
        if let [only] = mentioning[..] {
            return found(only, Rule::NamedInProgram);
        }
        let left = if mentioning.is_empty() { running } else { mentioning };
        match left.iter().rfind(in_turn) {
            Some(program) => found(program, Rule::LatestRunningProgramInTurn),
            None => found(left.last()?, Rule::LatestRunningProgram),
        }
    }
}

/// Returns a text escaped for ASCII JSON.
fn json_escaped(text: &str) -> String {
    let quoted = serde_json::to_string(text).expect("a string");
    let ascii = |character: char| {
        let mut units = [0; 2];
        let units = character.encode_utf16(&mut units).iter();
        if character.is_ascii() {
            character.to_string()
        } else {
            units.map(|unit| format!("\\u{unit:04x}")).collect::<Vec<_>>().concat()
        }
    };
    quoted[1..quoted.len() - 1].chars().map(ascii).collect()
}

const COMMANDS: &[&str] = &[
    "",
    "ls",
    "ls -la",
    "echo \"ä\"\n",
    "cat /srv/lab/a/rather/long/path/to/see/how.txt",
    "cat /srv/lab/a/rather/long/path/to/see/why.txt",
];

/// An event in a line.
#[derive(Clone, Debug)]
enum Event {
    Called {
        call: u8,
        at: Option<i64>,
        turn: u8,
        named: Vec<(usize, bool)>,
    },
    WaitsFor {
        call: u8,
        cell: u8,
    },
    Answered {
        call: u8,
        at: Option<i64>,
        cell: Option<u8>,
    },
    SettleAll,
    /// The state is saved and restored, without the texts.
    Restored,
    Command {
        started: i64,
        command: usize,
        turn: u8,
    },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let at = || prop_oneof![1 => Just(None), 9 => (0_i64..30).prop_map(Some)];
    let named = prop::collection::vec((0..COMMANDS.len(), any::<bool>()), 0..3);
    let event = prop_oneof![
        6 => (0_u8..8, at(), 0_u8..3, named)
            .prop_map(|(call, at, turn, named)| Event::Called { call, at, turn, named }),
        2 => (6_u8..12, 0_u8..3).prop_map(|(call, cell)| Event::WaitsFor { call, cell }),
        12 => (0_u8..12, at(), prop_oneof![9 => Just(None), 2 => (0_u8..3).prop_map(Some)])
            .prop_map(|(call, at, cell)| Event::Answered { call, at, cell }),
        1 => Just(Event::SettleAll),
        1 => Just(Event::Restored),
        8 => (-1_i64..50, 0..COMMANDS.len(), 0_u8..4)
            .prop_map(|(started, command, turn)| Event::Command { started, command, turn }),
    ];
    prop::collection::vec(event, 1..60)
}

fn name(kind: &str, number: u8) -> Name {
    Name::new(format!("{kind}_{number}").as_bytes(), false)
}

fn call_id(number: u8) -> CallId {
    CallId(name("call", number))
}

/// Returns the turn with this number. Turn 0 is unknown.
fn turn_id(number: u8) -> TurnId {
    if number == 0 { TurnId::default() } else { TurnId(name("turn", number)) }
}

/// The texts of all lines so far.
#[derive(Default)]
struct Lines(Vec<String>);

impl Reread for Lines {
    fn program_text(&mut self, line: ByteOffset, text: &mut Vec<u8>) {
        let line = usize::try_from(line.0).expect("a line's number");
        text.extend_from_slice(self.0[line].as_bytes());
    }
}

fn restored(programs: &Programs) -> Programs {
    let saved = postcard::to_extend(programs, Vec::new()).expect("can be saved");
    postcard::from_bytes(&saved).expect("can be read")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn the_owner_of_a_command_follows_the_rules(events in events()) {
        let (mut programs, mut reference, mut lines) = (Programs::default(), Reference::default(), Lines::default());
        for event in &events {
            match event {
                Event::Called { call, at, turn, named } => {
                    let named = named.iter().map(|(command, is_escaped)| {
                        if *is_escaped { json_escaped(COMMANDS[*command]) } else { COMMANDS[*command].to_owned() }
                    });
                    let text = named.collect::<Vec<_>>().join(";");
                    let line = ByteOffset(lines.0.len() as u64);
                    programs.add_call(call_id(*call), *at, &turn_id(*turn), text.as_bytes(), line);
                    reference.add_call(*call, *at, *turn, &text);
                    lines.0.push(text);
                }
                Event::WaitsFor { call, cell } => {
                    programs.add_wait(call_id(*call), name("cell", *cell));
                    reference.add_wait(*call, *cell);
                }
                Event::Answered { call, at, cell } => {
                    programs.add_output(&call_id(*call), *at, cell.map(|cell| name("cell", cell)));
                    reference.add_output(*call, *at, *cell);
                }
                Event::SettleAll => {
                    programs.settle_all();
                    reference.programs.iter_mut().for_each(|program| program.is_settled = true);
                }
                Event::Restored => programs = restored(&programs),
                Event::Command { started, command, turn } => {
                    let text = COMMANDS[*command];
                    let line = |buffer: &mut Vec<u8>| buffer.extend_from_slice(text.as_bytes());
                    let owner = programs.owner(*started, line, &mut Vec::new(), &turn_id(*turn), &mut lines);
                    let expected = reference.owner(*started, text, *turn);
                    let expected =
                        expected.map(|(call, rule, is_settled)| Owner { call: call_id(call), rule, is_settled });
                    prop_assert_eq!(owner, expected, "a command at {} of {:?}", started, events);
                }
            }
        }
    }

    #[test]
    fn a_text_is_found_at_any_position(text in "[ab]{0,300}", from in any::<prop::sample::Index>(), part in "[ab]{1,60}") {
        let is_in = |text: &[u8], part: &[u8]| text.windows(part.len()).any(|window| window == part);
        prop_assert_eq!(contains(text.as_bytes(), part.as_bytes()), is_in(text.as_bytes(), part.as_bytes()));
        // A long text whose beginning occurs often.
        let often = format!("{}{text}", "ab".repeat(80));
        let part = [&b"ab".repeat(13), part.as_bytes()].concat();
        prop_assert_eq!(contains(often.as_bytes(), &part), is_in(often.as_bytes(), &part));
        let part = &often.as_bytes()[from.index(often.len())..];
        prop_assert!(contains(often.as_bytes(), part));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn memory_is_bounded_for_any_input(
        seeds in prop::collection::vec((0_usize..6, any::<u16>(), 0_usize..10), 200..400),
    ) {
        let mut programs = Programs::default();
        for (position, (what, number, size)) in seeds.iter().enumerate() {
            let length = [0, 10, 40, 55, 59, 60, 500, 5000, 20_000, 70_000][*size];
            let id = |kind: &str| Name::new(format!("{kind}{number}{}", ".".repeat(length)).as_bytes(), false);
            let at = Some(i64::try_from(position).expect("small"));
            match what {
                0 | 1 => {
                    let text = vec![b't'; if length < 70_000 { length } else { length * 20 }];
                    let (call, turn) = (CallId(id("call")), TurnId(id("turn")));
                    programs.add_call(call.clone(), at, &turn, &text, ByteOffset(position as u64));
                    let ids = call.0.as_bytes().len() + turn.0.as_bytes().len();
                    prop_assert!(programs.position(&call).is_some() == (ids <= MAX_ID_BYTES));
                }
                2 => programs.add_wait(CallId(id("wait")), id("cell")),
                3 => programs.add_output(&CallId(id("call")), at, Some(id("cell"))),
                4 => programs.add_output(&CallId(id("call")), at, None),
                _ => programs.add_output(&CallId(id("wait")), at, None),
            }
            let ids: usize = programs.calls.iter().map(Program::id_bytes).sum();
            prop_assert!(ids == programs.id_bytes && ids <= MAX_ID_BYTES);
            prop_assert!(programs.calls.len() <= MAX_PROGRAMS);
            prop_assert_eq!(programs.calls.len(), programs.spans.len());
            prop_assert_eq!(&programs.filter, &programs.calls.iter().map(|program| &program.call).collect());
            prop_assert!(programs.cells.len() <= MAX_CELLS && programs.waits.len() <= MAX_CELLS);
            let fits = |id: &Name| id.length() <= MAX_CELL_ID_BYTES;
            prop_assert!(programs.cells.iter().all(|(cell, call)| fits(cell) && fits(&call.0)));
            prop_assert!(programs.waits.iter().all(|(call, cell)| fits(cell) && fits(&call.0)));
            prop_assert!(programs.texts.len() <= 2 * MAX_PROGRAM_TEXT);
        }
    }
}

/// Returns the owner of a command `ls` that started at `started`.
fn owner_of_ls(programs: &Programs, started: i64, reread: &mut dyn Reread) -> Option<(CallId, Rule)> {
    let line = |buffer: &mut Vec<u8>| buffer.extend_from_slice(b"ls");
    let owner = programs.owner(started, line, &mut Vec::new(), &TurnId::default(), reread);
    owner.map(|owner| (owner.call, owner.rule))
}

#[test]
fn programs_that_have_ended_are_forgotten_first() {
    let mut programs = Programs::default();
    programs.add_call(call_id(0), Some(0), &TurnId::default(), b"", ByteOffset(0));
    for number in 0..5000 {
        let call = CallId(Name::new(format!("ended_{number}").as_bytes(), false));
        programs.add_call(call.clone(), Some(10), &TurnId::default(), b"", ByteOffset(0));
        programs.add_output(&call, Some(20), None);
    }
    assert_eq!(programs.calls.len(), MAX_PROGRAMS);
    assert_eq!(owner_of_ls(&programs, 30, &mut Lines::default()), Some((call_id(0), Rule::RunningProgram)));
}

#[test]
fn texts_are_searched_up_to_the_limit() {
    let limit = MAX_PROGRAM_TEXT;
    for (later, rule) in [(limit - 2, Rule::NamedInProgram), (limit - 1, Rule::LatestRunningProgram)] {
        for is_restored in [false, true] {
            let mut programs = Programs::default();
            let mut lines = Lines(vec!["ls".to_owned(), "x".repeat(later)]);
            for (number, text) in lines.0.iter().enumerate() {
                let number = u8::try_from(number).expect("small");
                let line = ByteOffset(u64::from(number));
                programs.add_call(call_id(number), Some(0), &TurnId::default(), text.as_bytes(), line);
            }
            if is_restored {
                programs = restored(&programs);
            }
            let owner = owner_of_ls(&programs, 5, &mut lines).expect("two run");
            assert_eq!(owner.1, rule, "{later} later bytes, restored: {is_restored}");
        }
    }
}

#[test]
fn texts_that_are_searched_are_kept() {
    /// A [`Reread`] that fails the test: kept texts are not read again.
    struct Never;
    impl Reread for Never {
        fn program_text(&mut self, _line: ByteOffset, _text: &mut Vec<u8>) {
            panic!("a kept text was read again");
        }
    }
    let filler = vec![b'x'; 30_000];
    for before in 0..80 {
        let mut programs = Programs::default();
        let mut call = 0;
        let mut add_call = |started: Option<i64>, text: &[u8]| {
            call += 1;
            let call = CallId(Name::new(format!("call_{call}").as_bytes(), false));
            programs.add_call(call, started, &TurnId::default(), text, ByteOffset(0));
        };
        // Two of these programs run: one that contains the command, and one much later.
        for _ in 0..before {
            add_call(None, &filler);
        }
        add_call(Some(0), b"ls");
        for _ in 0..34 {
            add_call(None, &filler);
        }
        add_call(Some(0), b"other");
        let owner = owner_of_ls(&programs, 5, &mut Never);
        assert_eq!(owner.map(|(_, rule)| rule), Some(Rule::NamedInProgram), "after {before} texts");
    }
}

#[test]
fn a_text_over_the_limit_is_not_searched() {
    let mut programs = Programs::default();
    let text = "ls ".repeat(400_000);
    programs.add_call(call_id(0), Some(0), &TurnId::default(), text.as_bytes(), ByteOffset(0));
    programs.add_call(call_id(1), Some(0), &TurnId::default(), b"", ByteOffset(1));
    let owner = owner_of_ls(&programs, 5, &mut Lines(vec![text, String::new()]));
    assert_eq!(owner, Some((call_id(1), Rule::LatestRunningProgram)));
}

#[test]
fn only_these_tools_start_commands() {
    for tool in ["exec", "exec_command", "shell", "shell_command", "local_shell"] {
        assert!(starts_commands(tool.as_bytes()));
    }
    for tool in ["", "wait", "write_stdin", "apply_patch", "Exec", "exec_command2"] {
        assert!(!starts_commands(tool.as_bytes()));
    }
}
