//! The text of units, scripts and cron's lines.

use super::{Autostart, MARK};

/// Where runc and what it calls are: cron's own path leaves out sbin.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether a word means itself to a shell, to systemd and to cron.
fn plain(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "/._=+-:,@".contains(c))
}

/// A word for systemd (systemd.service(5), "Command lines").
fn for_systemd(word: &str) -> String {
    if plain(word) {
        return word.to_owned();
    }
    let word = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    format!("\"{word}\"")
}

/// A word for sh(1).
fn for_shell(word: &str) -> String {
    if plain(word) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// A word for cron (crontab(5)), which runs a shell after making lines of unescaped percent signs.
fn for_cron(word: &str) -> String {
    for_shell(word).replace('%', "\\%")
}

impl Autostart {
    fn command(&self, quote: fn(&str) -> String, command: &[&str]) -> String {
        let words = [self.program.as_str()].into_iter().chain(command.iter().copied());
        words.chain(self.arguments.iter().map(String::as_str)).map(quote).collect::<Vec<_>>().join(" ")
    }

    fn tend(&self) -> &'static [&'static str] {
        if self.supervise { &["tend", "--restart"] } else { &["tend"] }
    }

    /// A oneshot: the processes are the runtime's, in control groups of their own, and change with each installation;
    /// systemd could only follow the first. It comes after the units with which the switches' own systems make their
    /// ports, which has no effect where there are none.
    pub(super) fn service(&self) -> String {
        let up = self.command(for_systemd, &["up", "--fix"]);
        let stop = self.command(for_systemd, &["stop", "--all"]);
        format!(
            "{MARK}\
             [Unit]\n\
             Description=Applications of sluice-switch\n\
             After=local-fs.target network.target switchd.service swss.service\n\
             \n\
             [Service]\n\
             Type=oneshot\n\
             RemainAfterExit=yes\n\
             ExecStart={up}\n\
             ExecStop={stop}\n\
             KillMode=process\n\
             TimeoutStartSec=10min\n\
             TimeoutStopSec=5min\n\
             \n\
             [Install]\n\
             WantedBy=multi-user.target\n"
        )
    }

    pub(super) fn tend_service(&self) -> String {
        let tend = self.command(for_systemd, self.tend());
        format!(
            "{MARK}\
             [Unit]\n\
             Description=Logs of sluice-switch's applications are kept within bounds\n\
             After=sluice-apps.service\n\
             \n\
             [Service]\n\
             Type=oneshot\n\
             ExecStart={tend}\n\
             KillMode=process\n"
        )
    }

    pub(super) fn timer(&self) -> String {
        let every = self.every;
        format!(
            "{MARK}\
             [Unit]\n\
             Description=A look at sluice-switch's applications every {every} min\n\
             \n\
             [Timer]\n\
             OnBootSec={every}min\n\
             OnUnitActiveSec={every}min\n\
             \n\
             [Install]\n\
             WantedBy=timers.target\n"
        )
    }

    pub(super) fn script(&self) -> String {
        let [up, stop, status] = [&["up", "--fix"][..], &["stop", "--all"], &["status"]]
            .map(|command| self.command(for_shell, command));
        format!(
            "#!/bin/sh\n\
             {MARK}\
             ### BEGIN INIT INFO\n\
             # Provides:          sluice-apps\n\
             # Required-Start:    $local_fs $network\n\
             # Required-Stop:     $local_fs $network\n\
             # Should-Start:      $syslog\n\
             # Default-Start:     2 3 4 5\n\
             # Default-Stop:      0 1 6\n\
             # Short-Description: Applications of sluice-switch\n\
             ### END INIT INFO\n\
             PATH={PATH}\n\
             export PATH\n\
             case \"$1\" in\n\
             start) exec {up} ;;\n\
             stop) exec {stop} ;;\n\
             restart|force-reload) {stop}; exec {up} ;;\n\
             status) exec {status} ;;\n\
             *) echo \"Usage: $0 {{start|stop|restart|force-reload|status}}\" >&2; exit 2 ;;\n\
             esac\n"
        )
    }

    /// Lines for /etc/cron.d, and with `boot` one for the boot as well.
    pub(super) fn cron(&self, boot: bool) -> String {
        format!("{MARK}{}", self.cron_lines(boot, "root "))
    }

    /// Lines for `crontab -e` of root.
    pub fn crontab(&self) -> String {
        self.cron_lines(true, "")
    }

    fn cron_lines(&self, boot: bool, user: &str) -> String {
        let mut text = format!("PATH={PATH}\n");
        if boot {
            text += &format!("@reboot {user}{}\n", self.command(for_cron, &["up", "--fix"]));
        }
        if self.every > 0 {
            text += &format!("*/{} * * * * {user}{}\n", self.every, self.command(for_cron, self.tend()));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_each_reader() {
        assert_eq!(for_systemd("/opt/a b"), "\"/opt/a b\"");
        assert_eq!(for_systemd("100%$x\"\\"), "\"100%%$$x\\\"\\\\\"");
        assert_eq!(for_shell("it's"), "'it'\\''s'");
        assert_eq!(for_cron("50%"), "'50\\%'");
        for quote in [for_systemd, for_shell, for_cron] {
            assert_eq!(quote("/usr/bin/sluice-switch"), "/usr/bin/sluice-switch");
            assert!(quote("").len() == 2, "an empty word is still one");
        }
    }
}
