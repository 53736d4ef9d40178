  } finally {
    rrd.leaveTag();
  }
  rrd.wrapStart();
}).call(typeof globalThis === 'object' ? globalThis : window);
