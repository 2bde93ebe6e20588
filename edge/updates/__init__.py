"""Models that come over the air: kept, proved in a process of their own, tried, returned from.

record         which model runs, what ran before, whether it is on probation
store          the folder that holds them
proof          golden pictures in another process, which may crash, hang or run out of memory
install        check, prove, store, record: the way of a bundle into the store
fetch          a bundle from a web server; upload: one that comes in chunks
server_access  which web servers are asked, and told a password
http_get       one GET, watched at every step
download_pace  what is too slow for it
jobs           the update that was accepted, and how it ends; elapsed: its seconds over restarts
startup        which model a start takes
switch         another model between two frames
probation      whether the new model holds up
follower       has the model judge that the record names, and watches over its probation
updater        carries an accepted update out
service        both, on a thread of a running device
"""
