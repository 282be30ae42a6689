"""A real php-fpm pool in a temporary folder."""

import glob
import os
import shutil
import signal
import subprocess

from .net import SLOW, free_port, poll

HERE = os.path.dirname(os.path.abspath(__file__))


def find_fpm():
    names = sorted(glob.glob("/usr/sbin/php-fpm*"), reverse=True)
    return names[0] if names else shutil.which("php-fpm")


CONF = """
[global]
error_log = {folder}/fpm.log
daemonize = no
[www]
{user}
listen = {listen}
listen.mode = 0666
pm = static
pm.max_children = {children}
pm.status_path = /status
ping.path = /ping
catch_workers_output = no
clear_env = yes
security.limit_extensions = .php
php_admin_value[upload_max_filesize] = 64M
php_admin_value[post_max_size] = 64M
php_admin_value[memory_limit] = 256M
php_admin_flag[log_errors] = on
php_admin_value[upload_tmp_dir] = {folder}
"""


class Php:
    def __init__(self, folder, unix=False, children=4):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        os.chmod(self.folder, 0o777)
        self.root = os.path.join(self.folder, "www")
        shutil.copytree(os.path.join(os.path.dirname(HERE), "php"), self.root, dirs_exist_ok=True)
        port = free_port()
        listen = os.path.join(self.folder, "php.sock") if unix else "127.0.0.1:%d" % port
        self.address = "unix:" + listen if unix else listen
        self.children = children
        user = "user = root\ngroup = root" if os.geteuid() == 0 else ""
        with open(os.path.join(self.folder, "fpm.conf"), "w") as f:
            f.write(CONF.format(folder=self.folder, listen=listen, children=children, user=user))
        self.start()

    def start(self):
        args = [find_fpm(), "-F", "-n", "-y", os.path.join(self.folder, "fpm.conf")]
        if os.geteuid() == 0:
            args.append("-R")
        self.out = open(os.path.join(self.folder, "out.log"), "ab")
        self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.out,
                                        start_new_session=True)
        poll(lambda: "ready to handle" in self.log(), 10, "php-fpm ready")

    def log(self):
        try:
            with open(os.path.join(self.folder, "fpm.log")) as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5 * SLOW)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.out.close()
