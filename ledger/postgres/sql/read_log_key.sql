-- $1 community
SELECT log_key FROM communities WHERE community = $1
