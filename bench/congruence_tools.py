"""The tools of bench/congruence.py: how each is asked, and the same two configurations in the words of each."""

from __future__ import annotations

from dataclasses import dataclass

FIRST, SECOND, MINE = "first\n", "second\n", "# declared\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """`apply` and `dry` are shell commands with `{version}` in them; `purging` says what its purging is called."""

    name: str
    source: str
    version: str
    apply: str
    dry: str
    purging: str
    packages: str = ""
    """A look at what purging packages would do, and what each package's line has."""
    package_mark: str = ""


HERE = "/srv/congruence"
PUPPET = "puppet apply --color=false --detailed-exitcodes"
SALT = f"/opt/salt/bin/salt-call --local --retcode-passthrough --file-root={HERE}/salt --no-color state.apply"
PYINFRA = f"cd {HERE}/pyinfra && /opt/pyinfra/bin/pyinfra @local"

TOOLS = (
    Tool(
        name="ansible-core",
        source="Debian's package ansible-core",
        version="ansible --version | head -n 1",
        apply=f"ansible-playbook -i localhost, {HERE}/ansible/{{version}}.yml",
        dry=f"ansible-playbook -i localhost, --check --diff {HERE}/ansible/{{version}}.yml",
        purging="none of its own: `find`, and `file: state=absent` for what was found",
    ),
    Tool(
        name="puppet",
        source="Debian's package puppet-agent",
        version="puppet --version",
        apply=f"{PUPPET} {HERE}/puppet/{{version}}.pp",
        dry=f"{PUPPET} --noop {HERE}/puppet/{{version}}.pp",
        purging="`file { recurse => true, purge => true }`",
        packages=f"{PUPPET} --noop {HERE}/puppet/packages.pp",
        package_mark="ensure: removed (noop)",
    ),
    Tool(
        name="salt",
        source="PyPI's package salt",
        version="/opt/salt/bin/salt-call --version",
        apply=f"{SALT} {{version}}",
        dry=f"{SALT} {{version}} test=True",
        purging="`file.directory` with `clean: True`",
    ),
    Tool(
        name="pyinfra",
        source="PyPI's package pyinfra",
        version="/opt/pyinfra/bin/pyinfra --version",
        apply=f"{PYINFRA} -y {{version}}.py",
        dry=f"{PYINFRA} --dry {{version}}.py",
        purging="`files.sync` with `delete=True`",
    ),
)

_ANSIBLE = """\
- hosts: all
  connection: local
  gather_facts: false
  tasks:
"""
_ANSIBLE_FILE = """\
    - file: {{path: /etc/app, state: directory}}
    - copy: {{dest: /etc/app/{name}.conf, content: "{name}\\n", mode: "0644"}}
"""
_ANSIBLE_PURGE = """\
    - copy: {dest: /etc/cron.d/mine, content: "# declared\\n", mode: "0644"}
    - find: {paths: /etc/cron.d, hidden: true, excludes: mine}
      register: found
    - file: {path: "{{ item.path }}", state: absent}
      loop: "{{ found.files }}"
"""
_PUPPET_FILE = """\
file {{ '/etc/app/{name}.conf': ensure => file, content => "{name}\\n", mode => '0644' }}
"""
_PUPPET = "file { '/etc/app': ensure => directory }\n"
_PUPPET_PURGE = """\
file { '/etc/cron.d': ensure => directory, recurse => true, purge => true }
file { '/etc/cron.d/mine': ensure => file, content => "# declared\\n", mode => '0644' }
"""
_SALT_FILE = """\
/etc/app/{name}.conf:
  file.managed:
    - contents: {name}
    - mode: '0644'
    - makedirs: True
"""
_SALT_PURGE = """\
/etc/cron.d/mine:
  file.managed:
    - contents: '# declared'
/etc/cron.d:
  file.directory:
    - clean: True
    - require:
      - file: /etc/cron.d/mine
"""
_PYINFRA = "import io\nfrom pyinfra.operations import apt, files\n"
_PYINFRA_FILE = 'files.put(src=io.StringIO("{name}\\n"), dest="/etc/app/{name}.conf", mode="644")\n'
_PYINFRA_PURGE = 'files.sync(src="cron.d", dest="/etc/cron.d", delete=True)\n'

CONFIGURATION = {
    "ansible/v1.yml": _ANSIBLE
    + _ANSIBLE_FILE.format(name="first")
    + "    - apt: {name: hello}\n"
    + _ANSIBLE_FILE.format(name="second"),
    "ansible/v2.yml": _ANSIBLE + _ANSIBLE_FILE.format(name="second"),
    "ansible/purge.yml": _ANSIBLE + _ANSIBLE_FILE.format(name="second") + _ANSIBLE_PURGE,
    "puppet/v1.pp": _PUPPET
    + _PUPPET_FILE.format(name="first")
    + "package { 'hello': ensure => installed }\n"
    + _PUPPET_FILE.format(name="second"),
    "puppet/v2.pp": _PUPPET + _PUPPET_FILE.format(name="second"),
    "puppet/purge.pp": _PUPPET + _PUPPET_FILE.format(name="second") + _PUPPET_PURGE,
    "puppet/packages.pp": "resources { 'package': purge => true }\npackage { 'hello': ensure => installed }\n",
    "salt/v1.sls": _SALT_FILE.format(name="first") + "hello:\n  pkg.installed: []\n" + _SALT_FILE.format(name="second"),
    "salt/v2.sls": _SALT_FILE.format(name="second"),
    "salt/purge.sls": _SALT_FILE.format(name="second") + _SALT_PURGE,
    "pyinfra/v1.py": _PYINFRA
    + _PYINFRA_FILE.format(name="first")
    + 'apt.packages(packages=["hello"])\n'
    + _PYINFRA_FILE.format(name="second"),
    "pyinfra/v2.py": _PYINFRA + _PYINFRA_FILE.format(name="second"),
    "pyinfra/purge.py": _PYINFRA + _PYINFRA_FILE.format(name="second") + _PYINFRA_PURGE,
    "pyinfra/cron.d/mine": MINE,
}
"""File, below /srv/congruence, to its text: one file and a package more in v1 than in v2."""
