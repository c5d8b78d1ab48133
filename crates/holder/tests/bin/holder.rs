//! A process that is nothing but a holder, for the tests.

fn main() {
    std::process::exit(clsess_holder::run());
}
