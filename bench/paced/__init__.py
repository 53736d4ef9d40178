"""Load as visitors send it: many sockets, each with some small events a second, spread evenly over time.

``bench.load`` checks every byte, and an event costs it more than it costs the server. Here what is sent is
made once for all: each visitor sends the same frames to a recording of its own, so that sending is one system
call and hardly more. Open loop: an event counts from when it was meant to be sent. What is checked: each
visitor's last summary counts what was sent to it, and some recordings are read back.

``order``      what is asked for, and what came of it
``frames``     what every visitor sends, compressed or not
``visitors``   the sockets: how they open, what they hear, how they close
``pace``       sends what is due, and notes who used the cores meanwhile
``work``       a load process's part of a turn: open, send, wait, close
``scenes``     servers and turns: against a bare receiver, how many visitors at most, a long stay, a storm
``readback``   recordings read back

``python -m bench.paced --help`` says how to call it.
"""
